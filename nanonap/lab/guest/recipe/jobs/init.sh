#!/bin/busybox sh
# /init of a guest that runs the jobs in /jobs, in the order of their numbers, writes to the console what they gave, and
# ends. Nothing comes in after it has booted, so that it does the same each time.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
# tell NAME FILE: a line with the job, the name and the file's size, then the file.
tell() {
    echo "=nanonap $number $1 $(stat -c %s "$2")"
    base64 "$2"
}
for number in $(ls /jobs | sort -n); do
    mkdir /job
    (cd /job && exec setsid sh "/jobs/$number") < /dev/null > /run/stdout 2> /run/stderr
    echo $? > /run/status
    kill -KILL -1
    tell stdout /run/stdout
    tell stderr /run/stderr
    for file in /job/*; do
        if test -f "$file"; then tell "file/${file##*/}" "$file"; fi
    done
    tell status /run/status
    rm -rf /job
done
poweroff -f
