"""``netpoll``: the runtime's wait for events takes nanoseconds.

``runtime.netpoll`` turns its delay into whole milliseconds for epoll_pwait (runtime/netpoll_epoll.go). The stub
keeps that conversion, in less space, and uses it where it is right: for a poll (0) and an endless wait (-1), and
whenever epoll_pwait2 is refused. For a positive delay it asks epoll_pwait2 first. Any negative result but -EINTR
is taken for a refusal (ENOSYS before Linux 5.11, EPERM or whatever else from a sandbox) and the stock call is made
once; its answer stands. So a genuine error is reported as the stock runtime reports it.

epoll may end a wait later than asked by 0.1 % of it (0.5 % if niced, at most 100 ms), which is more than the thread's
timer slack for long waits, and the kernel normally uses all of it (fs/select.c, select_estimate_accuracy). So the stub
asks for 1/128 less: the wait then ends 0.7 % before the delay (0.3 % if niced). Of a few milliseconds that is the time
that a processor needs to come out of idle; and sysmon, which the runtime parks until the same deadline, is not woken
first. In longer waits the scheduler finds that its timer is not due and waits for the rest, short and from a busy
processor, as it does in stock whenever whole milliseconds fell short.

Two opt-ins change the time that is asked for (patcher/wait.py). With a quantum, a wait shorter than it lasts the
quantum: every timer that is due is run at each wake-up, so the next comes at least a quantum later, and a longer wait
keeps its precision, which rounding up to a grid would cost it. Nothing is subtracted then: the short rest of a wait
that ends early would be rounded up. With a margin to spin, the wait ends that much early, and what is left of it is
polled through: epoll_pwait2 with a timeout of zero returns at once, and findRunnable (runtime/proc.go) goes round its
own loop, looking for timers, work and the collector, until the timer is due.

The new code lies in place of the wait's own, at its SP delta. Zeroing the event array is left out: the kernel fills the
first n events, only those are read, and they hold no pointers. Where ``netpoll`` is inlined into its caller, the copy
there is patched likewise: every wait with a timeout, or none. The timespec is built in the spill space of EpollWait's
register arguments (the stack arguments of ``epollwait`` before Go 1.21), which the callee owns and nothing reads.
"""

NAME = "netpoll"
