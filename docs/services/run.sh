#!/bin/sh
# The measurements of docs/services.md, from a checkout: sh docs/services/run.sh [NAME ...]
# The programs are in artifacts/services (services.md says from where); results go to $OUT/NAME.
set -eu
AB="${AB:-./lab ab}"
OUT="${OUT:-artifacts/results/services}"
RUNS="${RUNS:-10}"
bin=artifacts/services
load="python3 docs/services/load.py"
made=/dev/shm/nanonap-services
plain=netpoll+slack1,control
slacks=netpoll,netpoll+slack1,control
bursts=netpoll+slack1,netpoll+slack1+quantum,control

measure() { # NAME PROGRAM ARMS [OPTIONS OF ab ...]
    name=$1 program=$2 arms=$3
    shift 3
    $AB --binary "$bin/$program" --arms "$arms" --runs "$RUNS" --seed 16 --out "$OUT/$name" "$@"
}

caddy() { # an answer is flushed 500 us after a piece of it came; small requests
    measure caddy caddy $plain --ready tcp:127.0.0.1:7101 \
        --run "{binary} run --adapter caddyfile --config docs/services/Caddyfile" --load "$load flush 7101 7102" \
        --metric piece=json:piece_p50 --metric 'piece p90=json:piece_p90' \
        --metric request=json:request_p50 --metric 'request p90=json:request_p90'
}

traefik() { # the same, flushed after 2 ms
    measure traefik traefik $plain --ready tcp:127.0.0.1:7111 --load "$load flush 7111 7112" \
        --run "{binary} --entryPoints.web.address=127.0.0.1:7111 --providers.file.filename=docs/services/traefik.yml" \
        --metric piece=json:piece_p50 --metric 'piece p90=json:piece_p90' \
        --metric request=json:request_p50 --metric 'request p90=json:request_p90'
}

nats() { # a stream that is replayed at its own pace; requests between clients
    measure nats nats-server $slacks --ready tcp:127.0.0.1:7105 --load "$load nats 7105" \
        --run "sh -c 'rm -rf $made-nats; exec {binary} -a 127.0.0.1 -p 7105 -js -sd $made-nats'" \
        --metric 'over a message=json:over_a_message' --metric 'replay takes=json:replay_times' \
        --metric request=json:request_p50 --metric 'request p90=json:request_p90'
}

prometheus() { # scrapes every 25 ms; queries
    options="--config.file=docs/services/prometheus.yml --web.listen-address=127.0.0.1:7121"
    measure prometheus prometheus $plain --ready url:http://127.0.0.1:7121/-/ready \
        --run "sh -c 'rm -rf $made-prom; exec {binary} $options --storage.tsdb.path=$made-prom'" \
        --load "$load prometheus 7121 7122 2.5 25" \
        --metric late=json:late_p50 --metric 'late p90=json:late_p90' --metric rate=json:rate \
        --metric query=json:query_p50 --metric 'query p90=json:query_p90'
}

influxdb() { # writes that wait 500 us for others before the log is synced; pings
    measure influxdb influxd $plain --ready url:http://127.0.0.1:7131/ping \
        --run "sh -c 'rm -rf /dev/shm/nanonap-influx; exec {binary} -config docs/services/influxdb.conf'" \
        --load "$load influx 7131" \
        --metric write=json:write_p50 --metric 'write p90=json:write_p90' \
        --metric ping=json:ping_p50 --metric 'ping p90=json:ping_p90'
}

etcd() { # puts, gets, and a second with no more than heartbeats, every 5 ms
    url=http://127.0.0.1:7141 peer=http://127.0.0.1:7142
    options="--listen-client-urls=$url --advertise-client-urls=$url --listen-peer-urls=$peer"
    options="$options --initial-advertise-peer-urls=$peer --initial-cluster=default=$peer"
    options="$options --heartbeat-interval=5 --election-timeout=50"
    measure etcd etcd $plain --ready url:$url/health \
        --run "sh -c 'rm -rf $made-etcd; exec {binary} --data-dir=$made-etcd $options'" --load "$load etcd 7141" \
        --metric put=json:put_p50 --metric 'put p90=json:put_p90' \
        --metric get=json:get_p50 --metric 'get p90=json:get_p90'
}

hey() { # 2,000 requests a second are asked for
    measure hey hey $plain --run "{binary} -z 1h -c 1 -q 2000 http://127.0.0.1:7151/" \
        --load "$load target 7151 2" \
        --metric rate=json:rate --metric requests=json:requests --metric gap=json:gap_p50 --per requests
}

hey50() { # ten workers, each asking for 50 requests a second
    measure hey50 hey $plain --run "{binary} -z 1h -c 10 -q 50 http://127.0.0.1:7153/" \
        --load "$load target 7153 2" --metric rate=json:rate --metric requests=json:requests --per requests
}

ffuf() { # four workers, each pausing for 2 ms after a request
    mkdir -p $made-ffuf
    seq 1000000 > $made-ffuf/words
    measure ffuf ffuf $bursts --run "{binary} -t 4 -p 0.002 -w $made-ffuf/words -u http://127.0.0.1:7152/FUZZ" \
        --load "$load target 7152 2" --metric rate=json:rate --metric requests=json:requests --per requests
}

rclone() { # a file at a limited rate: the first 4 MiB at once, then 8 MiB a second
    mkdir -p $made-rclone
    head -c 16777216 /dev/zero > $made-rclone/made
    measure rclone rclone $plain --ready tcp:127.0.0.1:7161 \
        --run "{binary} serve http $made-rclone --addr 127.0.0.1:7161 --bwlimit 8M --config /dev/null" \
        --load "$load fetch 7161 /made 16777216" --metric whole=json:whole --metric 'MiB a second=json:mib_s'
}

http3() { # files by HTTP/3: small ones, then a large one
    mkdir -p $made-h3/files
    echo small > $made-h3/files/small
    head -c 2097152 /dev/zero > $made-h3/files/made
    measure http3 caddy $slacks --ready tcp:127.0.0.1:7181 \
        --run "{binary} run --adapter caddyfile --config docs/services/Caddyfile.h3" \
        --load "$bin/venv/bin/python docs/services/load_h3.py 7181" \
        --metric small=json:small_p50 --metric 'small p90=json:small_p90' --metric 'MiB a second=json:mib_s'
}

esbuild() { # bundles anew for every request
    mkdir -p $made-esbuild
    for n in $(seq 300); do echo "export const name$n = () => $n * $n"; done > $made-esbuild/part.js
    echo 'import * as part from "./part.js"; console.log(Object.keys(part))' > $made-esbuild/made.js
    measure esbuild esbuild $slacks --ready url:http://127.0.0.1:7171/made.js \
        --run "sh -c 'tail -f /dev/null | {binary} $made-esbuild/made.js --bundle --outdir=$made-esbuild/out --serve=127.0.0.1:7171'" \
        --load "$load gets 7171 /made.js 2000" --metric build=json:request_p50 --metric 'build p90=json:request_p90'
}

for each in "${@:-}"; do
    if [ -n "$each" ]; then "$each"; continue; fi
    for every in caddy traefik nats prometheus influxdb etcd hey hey50 ffuf rclone http3 esbuild; do "$every"; done
done
