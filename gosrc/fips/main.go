// Command fips uses what the FIPS 140-3 module checks: with GODEBUG=fips140=on the module compares a hash of its own
// code and data with one that the linker recorded, before main, and ends the program if they differ
// (crypto/internal/fips140/check). It needs Go 1.24.
//
// It writes one JSON line: whether the module is on, whether its answers are right, and how long a sleep of 1 ms took.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// The SHA-256 of "abc" (FIPS 180-2, appendix B.1).
const ofABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

func main() {
	sum := sha256.Sum256([]byte("abc"))
	sealed, err := sealAndOpen([]byte("a secret"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "fips: %v\n", err)
		os.Exit(1)
	}
	begin := time.Now()
	time.Sleep(time.Millisecond)
	answer := map[string]any{
		"enabled":  fips140.Enabled(),
		"right":    hex.EncodeToString(sum[:]) == ofABC && sealed,
		"slept_ns": int64(time.Since(begin)),
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintf(os.Stderr, "fips: %v\n", err)
		os.Exit(1)
	}
}

// sealAndOpen tells whether AES-GCM with a nonce of its own choice gives the text back.
func sealAndOpen(text []byte) (bool, error) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return false, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return false, err
	}
	sealed := gcm.Seal(nil, nil, text, nil)
	opened, err := gcm.Open(nil, nil, sealed, nil)
	return bytes.Equal(opened, text) && !bytes.Contains(sealed, text), err
}
