# For the scripts that make an image, which run in a folder of their own and source this.
# unpack_kernel PACKAGE…: leaves the kernel and the packages in unpacked/, never installed, and a line of each in
# packages.txt. Fetched with the guest's own package lists, so that the host may be another release of another
# distribution, on another processor.
unpack_kernel() {
    (
        export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
        eval "$(apt-config shell architecture APT::Architecture)"
        kernel=$(apt-cache depends --no-recommends --no-suggests "linux-image-cloud-$architecture" | sed -n 's/.*Depends: *//p' | head -n 1)
        apt-get -q -o APT::Sandbox::User=root download "$kernel" "$@"
        for package in *.deb; do
            dpkg-deb --field "$package" Package Version | sed 's/^[A-Za-z]*: //' | paste -d ' ' - - >> packages.txt
            dpkg-deb --extract "$package" unpacked
        done
    )
}
