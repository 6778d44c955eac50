package main

import "bytes"

// absent stands for a counter that the kernel does not keep.
const absent = -1

// counters are a group's, with times in nanoseconds whatever the file's unit is.
type counters struct {
	nrPeriods, nrThrottled, throttledNs, nrBursts, burstNs, usageNs int64
	resolutionNs                                                    int64
}

// parseStat reads the text of cpu.stat. cgroup v1 has throttled_time and burst_time in nanoseconds
// (Documentation/scheduler/sched-bwc.rst), v2 has throttled_usec, burst_usec and usage_usec in microseconds
// (Documentation/admin-guide/cgroup-v2.rst); lines that it does not know are skipped.
func parseStat(text []byte) counters {
	c := counters{absent, absent, absent, absent, absent, absent, 1}
	for len(text) > 0 {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		blank := bytes.IndexByte(line, ' ')
		if blank < 0 {
			continue
		}
		value := parseNumber(line[blank+1:])
		if value == absent {
			continue
		}
		switch string(line[:blank]) { // the compiler makes no copy of it here
		case "nr_periods":
			c.nrPeriods = value
		case "nr_throttled":
			c.nrThrottled = value
		case "throttled_time":
			c.throttledNs = value
		case "throttled_usec":
			c.throttledNs, c.resolutionNs = value*1000, 1000
		case "nr_bursts":
			c.nrBursts = value
		case "burst_time":
			c.burstNs = value
		case "burst_usec":
			c.burstNs = value * 1000
		case "usage_usec":
			c.usageNs, c.resolutionNs = value*1000, 1000
		}
	}
	return c
}

// parseNumber reads a decimal number up to the end or a newline; absent for anything else.
func parseNumber(text []byte) int64 {
	text = bytes.TrimSuffix(text, []byte{'\n'})
	if len(text) == 0 || len(text) > 18 {
		return absent
	}
	value := int64(0)
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return absent
		}
		value = value*10 + int64(digit-'0')
	}
	return value
}
