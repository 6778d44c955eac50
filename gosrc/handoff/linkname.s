// No code: a package with an assembly file may declare functions without a body, and the
// functions that linkname.go takes from the runtime have none here.
