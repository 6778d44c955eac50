package main

import "syscall"

// traceWakes adds to the output which thread each sleeper ran on when it had woken (gettid(2), asked after the
// clock was read, so that no sample is longer for it), and when the window began on the clock: with both, the
// samples can be laid over the kernel's record of the threads.
func traceWakes(h *header, sleepers []*sleeper) {
	h.Columns = append(append([]string{}, columns...), "tid")
	for _, s := range sleepers {
		s.tid = make([]int64, len(s.requested))
		for i := range s.tid {
			s.tid[i] = -1 // page faults happen here, not among the samples
		}
	}
}

// woke notes the thread, where that is asked for.
func (s *sleeper) woke(k int) {
	if s.tid != nil {
		s.tid[k] = int64(syscall.Gettid())
	}
}
