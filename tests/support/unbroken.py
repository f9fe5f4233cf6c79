"""Threads that meet: whether one may come in while another holds a lock, and as often as can be."""

import contextlib
import dis
import sys
import threading


@contextlib.contextmanager
def hurried():
    """The interpreter passes on to another thread as often as it may."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Unbroken:
    """A lock that notes after what steps of its holder another thread may come in.

    The interpreter passes on after a call and a jump back only.

    Attributes:
        breaks: Names of the functions that were called, and of the instructions that called or
            jumped back.
        held: How often it was.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.breaks = []
        self.held = 0

    def __enter__(self):
        self.lock.acquire()
        self.held += 1
        self.steps = []
        self.frame = sys._getframe(1)
        self.before = (sys.gettrace(), self.frame.f_trace)
        self.frame.f_trace_opcodes = True
        self.frame.f_trace = self.step
        sys.settrace(self.called)

    def __exit__(self, *error):
        sys.settrace(self.before[0])
        self.frame.f_trace_opcodes = False
        self.frame.f_trace = self.before[1]
        steps = [name for name in self.steps if "CALL" in name or "JUMP_BACKWARD" in name]
        # The last call is this one's, unless an exception came first.
        self.breaks += steps if error[0] else [name for name in steps if name != "PRECALL"][:-1]
        self.lock.release()

    def called(self, frame, event, arg):
        if frame.f_code is not Unbroken.__exit__.__code__:
            self.breaks.append(frame.f_code.co_name)

    def step(self, frame, event, arg):
        if event == "opcode":
            self.steps.append(dis.opname[frame.f_code.co_code[frame.f_lasti]])
        return self.step
