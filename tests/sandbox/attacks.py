"""Programs that try to get out of the sandbox, harm the machine, or pass without solving anything.

Each starts with the lines of `HELPERS`, in which the capitals are filled in by the test. It prints ESCAPED where it
gets what it must not; what it does outside is seen by the test.
"""

from __future__ import annotations

import platform
from textwrap import dedent

ATTACKS: dict[str, str] = {}
ENDS: dict[str, str] = {}  # how a program must end, where it runs into a limit
CALLS: dict[str, str] = {}  # attacks of a function `answer`, which is asked for a number that it does not know

HELPERS = """
import ctypes, os, platform, signal, socket, struct, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def attempt(do, *args, **options):
    try:
        got = do(*args, **options)
    except BaseException as error:
        print("refused:", repr(error)[:150])
    else:
        print("ESCAPED", repr(got)[:150])

def system_call(x86_64, aarch64, *args):
    number = x86_64 if platform.machine() == "x86_64" else aarch64
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done
"""


def attack(name: str, source: str, *, ends: str | None = None, table: dict[str, str] = ATTACKS) -> None:
    table[name] = dedent(source)
    if ends:
        ENDS[name] = ends


# Files.
attack("read-a-file", "attempt(lambda: open(SECRET).read())")
attack("read-by-a-relative-path", "attempt(lambda: open('../' * 30 + SECRET).read())")
attack("read-by-a-link", "os.symlink(SECRET, 'link')\nattempt(lambda: open('link').read())")
attack("read-by-a-hard-link", "attempt(os.link, SECRET, 'hard')\nprint(open('hard').read())")
attack("read-by-a-folder-s-descriptor", """
    folder = os.open(os.path.dirname(SECRET), os.O_PATH)
    attempt(lambda: os.read(os.open(os.path.basename(SECRET), os.O_RDONLY, dir_fd=folder), 100))
""")  # fmt: skip
attack("read-with-another-program", "print(subprocess.run(['cat', SECRET], capture_output=True, text=True).stdout)")
attack(
    "read-the-list-of-users", "attempt(lambda: open('/etc/passwd').read())\nattempt(lambda: open('/etc/shadow').read())"
)
attack(
    "list-folders", "for f in '/', '/home', '/root', '/etc', '/var', os.path.dirname(SECRET): attempt(os.listdir, f)"
)
attack("read-the-shared-memory-of-others", "attempt(lambda: open(SHARED).read())")
attack("write-a-file", "attempt(lambda: open(OUTSIDE + '/file', 'w').write('x'))")
attack("append-to-a-file", "attempt(lambda: open(SECRET, 'a').write('x'))")
attack("cut-a-file", "attempt(os.truncate, SECRET, 0)\nattempt(os.open, SECRET, os.O_RDONLY | os.O_TRUNC)")
attack("delete-a-file", "attempt(os.unlink, SECRET)")
attack("rename-a-file", "attempt(os.rename, SECRET, SECRET + '2')\nattempt(os.rename, SECRET, 'mine')")
attack("make-a-folder", "attempt(os.mkdir, OUTSIDE + '/folder')\nattempt(os.symlink, 'x', OUTSIDE + '/link')")
attack("change-the-mode", "attempt(os.chmod, SECRET, 0o777)\nattempt(os.chmod, os.path.dirname(SECRET), 0o777)")
attack("change-the-owner", "attempt(os.chown, SECRET, os.getuid(), -1)\nattempt(os.chown, SECRET, 12345, 12345)")
attack("change-the-date", "attempt(os.utime, SECRET, (0, 0))")
attack("set-an-attribute", "attempt(os.setxattr, SECRET, 'user.x', b'1')")
attack("make-a-unix-socket", "s = socket.socketpair()[0]\nattempt(s.bind, OUTSIDE + '/socket')")
attack("write-into-the-packages", "attempt(lambda: open(PACKAGES + '/attack.pth', 'w').write('import attack'))")
attack("write-bytecode", """
    import json
    os.makedirs(os.path.dirname(json.__cached__), exist_ok=True)
    attempt(lambda: open(json.__cached__, 'r+b').write(b'x'))
    attempt(lambda: open(json.__file__, 'a').write('x'))
""")  # fmt: skip
attack("write-into-the-sandbox-s-own-code", "attempt(lambda: open(ROOM + '/inside.py', 'a').write('#'))")
attack("device-files", """
    for name in 'mem', 'kmsg', 'sda', 'vda', 'fuse', 'kvm', 'tty', 'ptmx', 'loop-control', 'net/tun':
        attempt(os.open, '/dev/' + name, os.O_RDWR)
    attempt(os.mknod, 'disk', 0o60666, os.makedev(254, 0))
""")  # fmt: skip
attack("type-into-the-terminal", """
    import fcntl
    for number in range(3):
        attempt(fcntl.ioctl, number, 0x5412, b'x')
    attempt(os.open, '/dev/tty', os.O_RDWR)
""")  # fmt: skip
attack("descriptors-left-open", """
    for number in range(3, 2000):
        try:
            os.fstat(number)
            print('ESCAPED', number)
        except OSError:
            pass
""")  # fmt: skip

# /proc and mounts.
attack("environment-of-others", """
    for pid in 'self', 1, os.getppid(), PARENT, VICTIM:
        for name in 'environ', 'mem', 'maps', 'cmdline', 'fd', 'root', 'cwd':
            path = f'/proc/{pid}/{name}'
            attempt(lambda: open(path).read())
            if (pid, name) != ('self', 'cwd'): attempt(os.listdir, path)
""")  # fmt: skip
attack("root-of-others", """
    for pid in 'self', 1, os.getppid(), PARENT, VICTIM:
        attempt(lambda: open(f'/proc/{pid}/root{SECRET}').read())
        attempt(lambda: open(f'/proc/{pid}/cwd/../../../../../..{SECRET}').read())
""")  # fmt: skip
attack(
    "own-environment", "print(dict(os.environ))\nprint(ctypes.CDLL(None).getenv(b'REWARDSMITH_SECRET') and 'ESCAPED')"
)
attack("kernel-settings", """
    for path in 'sys/kernel/core_pattern', 'sysrq-trigger', 'sys/vm/overcommit_memory', 'self/oom_score_adj':
        attempt(os.open, '/proc/' + path, os.O_WRONLY)
    attempt(os.listdir, '/sys')
""")  # fmt: skip
attack("mount", """
    for kind in b'tmpfs', b'proc', b'sysfs':
        attempt(system_call, 165, 40, b'none', b'/tmp', kind, 0, None)
    attempt(system_call, 165, 40, b'/', b'/tmp', None, 4096, None)
    attempt(system_call, 166, 39, b'/tmp', 2)
    attempt(system_call, 430, 430, b'tmpfs', 0)
    attempt(system_call, 428, 428, -100, b'/', 1)
""")  # fmt: skip
attack("change-the-root", "attempt(os.chroot, '.')\nattempt(system_call, 155, 41, b'.', b'.')")
attack("new-namespaces", """
    for flag in 0x10000000, 0x20000, 0x20000000, 0x40000000, 0x10020000:
        attempt(system_call, 272, 97, flag)
        attempt(system_call, 56, 220, flag | 17, 0, 0, 0, 0)
    attempt(system_call, 435, 435, struct.pack('=11Q', 0x10020000, *[0] * 10), 88)
""")  # fmt: skip
attack("namespaces-of-others", """
    for pid in 1, PARENT, VICTIM:
        for name in 'mnt', 'net', 'user', 'pid':
            attempt(lambda: system_call(308, 268, os.open(f'/proc/{pid}/ns/{name}', os.O_RDONLY), 0))
""")  # fmt: skip
attack("open-by-handle", """
    handle = struct.pack('=Ii', 8, 1) + struct.pack('=II', 2, 0) + bytes(128)
    for number in range(-1, 3):
        attempt(system_call, 304, 265, number, handle, 0)
""")  # fmt: skip

# Network.
attack("connect-by-tcp", "attempt(lambda: socket.create_connection(('127.0.0.1', TCP), timeout=1).sendall(b'attack'))")
attack("connect-by-tcp-6", "attempt(lambda: socket.create_connection(('::1', TCP), timeout=1).sendall(b'attack'))")
attack("send-by-udp", "attempt(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'attack', ('127.0.0.1', UDP)))")
attack("connect-to-a-unix-socket", "s = lambda: socket.socket(socket.AF_UNIX)\nattempt(lambda: s().connect(UNIX))")
attack("connect-to-an-abstract-socket", "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0' + ABSTRACT))")
attack("datagrams-to-a-unix-socket", """
    for kind in socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM:
        attempt(lambda: socket.socketpair(socket.AF_UNIX, kind)[0].sendto(b'attack', DATAGRAMS))
        attempt(lambda: socket.socketpair(socket.AF_UNIX, kind)[0].sendmsg([b'attack'], [], 0, DATAGRAMS))
        attempt(lambda: socket.socketpair(socket.AF_UNIX, kind)[0].connect(DATAGRAMS))
""")  # fmt: skip
attack("ask-for-a-name", "attempt(socket.getaddrinfo, 'example.com', 80)\nattempt(socket.gethostbyname, 'example.com')")
attack("other-kinds-of-sockets", """
    for family, kind in (16, 3), (17, 3), (2, 3), (40, 1), (38, 5), (15, 3), (29, 3), (30, 2):
        attempt(socket.socket, family, kind)
""")  # fmt: skip
attack("listen-for-others", """
    def listen():
        s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); return s.getsockname()
    attempt(listen)
""")  # fmt: skip
attack("queues-of-the-kernel", """
    attempt(system_call, 425, 425, 8, bytes(120))  # io_uring
    attempt(system_call, 321, 280, 0, bytes(72), 72)  # bpf
    attempt(system_call, 298, 241, bytes(120), 0, -1, -1, 0)  # perf_event_open
    attempt(system_call, 323, 282, 0)  # userfaultfd
    attempt(system_call, 250, 219, 0, -3, 0, 0, 0)  # keyctl
    attempt(system_call, 240, 180, b'attack', os.O_CREAT | os.O_RDWR, 0o600, None)  # mq_open
    attempt(system_call, 319, 279, b'x', 0)  # memfd_create
    attempt(system_call, 294, 26, 0)  # inotify
""")  # fmt: skip

# Processes.
attack("kill-a-process", "for s in 9, 15, 19, 0: attempt(os.kill, VICTIM, s)\nattempt(os.kill, PARENT, 9)")
attack(
    "kill-all",
    "signal.signal(15, signal.SIG_IGN)\nfor pid in -1, -VICTIM, 0:\n  try: os.kill(pid, 15)\n  except OSError: pass",
)
attack("kill-the-watcher", """
    for number in 19, 15, 9:
        for pid in {1, os.getppid(), os.getsid(0)} - {os.getpid(), 0}:
            try: os.kill(pid, number)
            except OSError: pass
    print('alive')
""")  # fmt: skip
attack("signal-by-a-descriptor", "attempt(lambda: system_call(424, 424, os.pidfd_open(VICTIM), 9, None, 0))")
attack("signal-with-a-value", "attempt(system_call, 129, 138, VICTIM, 9, struct.pack('=iii', 9, 0, -1) + bytes(116))")
attack("signal-by-a-file", """
    import fcntl
    r, w = os.pipe()
    attempt(fcntl.fcntl, r, 8, VICTIM)  # F_SETOWN
    attempt(fcntl.fcntl, r, 15, struct.pack('=ii', 1, VICTIM))  # F_SETOWN_EX
    attempt(fcntl.ioctl, socket.socketpair()[0], 0x8901, struct.pack('=i', VICTIM))  # FIOSETOWN
""")  # fmt: skip
attack("trace-a-process", "for how in 16, 0x4206: attempt(system_call, 101, 117, how, VICTIM, 0, 0)")
attack("read-the-memory-of-a-process", """
    space = ctypes.create_string_buffer(64)
    into = struct.pack('@PN', ctypes.addressof(space), 64)
    attempt(system_call, 310, 270, PARENT, into, 1, struct.pack('@PN', ADDRESS, 64), 1, 0)
    attempt(lambda: open(f'/proc/{VICTIM}/mem', 'rb').read(1))
""")  # fmt: skip
attack("limits-of-a-process", "import resource\nattempt(resource.prlimit, VICTIM, resource.RLIMIT_NOFILE, (0, 0))")
attack("priority-of-a-process", """
    attempt(os.setpriority, os.PRIO_PROCESS, VICTIM, 19)
    attempt(os.sched_setaffinity, VICTIM, {0})
    attempt(os.sched_setscheduler, VICTIM, os.SCHED_IDLE, os.sched_param(0))
    attempt(system_call, 251, 30, 1, VICTIM, 3 << 13)
""")  # fmt: skip
attack("memory-shared-by-key", "for n in (29, 194), (64, 190), (68, 186): attempt(system_call, *n, KEY, 64, 0o666)")
attack("a-process-that-stays", """
    libc.prctl(15, b'attack-left', 0, 0, 0)
    for _ in range(2):
        if os.fork(): os._exit(0)
        os.setsid()
    for number in range(3): os.close(number)
    for s in range(1, 32):
        if s not in (9, 19): signal.signal(s, signal.SIG_IGN)
    time.sleep(60)
""")  # fmt: skip
attack("a-process-that-stays-and-holds-the-output", """
    libc.prctl(15, b'attack-left', 0, 0, 0)
    if not os.fork():
        os.setsid()
        time.sleep(60)
""")  # fmt: skip
attack("outlive-the-parent", """
    libc.prctl(15, b'attack-left', 0, 0, 0)
    libc.prctl(1, 0, 0, 0, 0)  # the signal at the parent's death
    attempt(os.kill, os.getppid() if os.getppid() != 1 else -1, 9)
    time.sleep(60)
""", ends="time")  # fmt: skip
attack("fork-bomb", "while True:\n  try: os.fork()\n  except OSError: time.sleep(.01)", ends="processes time")
attack("thread-bomb", """
    threading.stack_size(32768)
    while True:
        try: threading.Thread(target=time.sleep, args=(60,)).start()
        except RuntimeError: time.sleep(.01)
""", ends="processes memory")  # fmt: skip
attack("setuid-programs", """
    for path in '/usr/bin/su', '/bin/mount', '/usr/bin/passwd', '/usr/bin/sudo':
        attempt(os.setuid, 0)
        print(subprocess.run([path, '-c', 'id'], capture_output=True, stdin=subprocess.DEVNULL).stdout)
""")  # fmt: skip
attack("become-somebody-else", """
    for name in 'setuid', 'setgid': attempt(getattr(os, name), 0)
    attempt(os.setgroups, [0]); attempt(os.setresuid, 0, 0, 0); attempt(os.setresgid, 0, 0, 0)
    attempt(system_call, 126, 91, struct.pack('=Ii', 0x20080522, 0), b'\\xff' * 24)
""")  # fmt: skip
attack("the-machine-itself", """
    attempt(system_call, 169, 142, 0xfee1dead, 672274793, 0, None)  # reboot with Ctrl-Alt-Del
    attempt(system_call, 170, 161, b'attack', 6)
    attempt(time.clock_settime, time.CLOCK_REALTIME, 0)
    attempt(system_call, 175, 105, b'x', 1, b''); attempt(system_call, 246, 104, 0, 0, None, 0)
    attempt(system_call, 103, 116, 3, ctypes.create_string_buffer(100), 100)
    attempt(system_call, 167, 224, b'/tmp/swap', 0); attempt(system_call, 163, 89, b'/tmp/acct')
    attempt(system_call, 135, 92, 0x0040000)
""")  # fmt: skip
if platform.machine() == "x86_64":
    attack("calls-with-32-bit-numbers", """
        import mmap
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')  # mov eax, 20; int 0x80; ret: getpid of i386
        print('ESCAPED', ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
    """, ends="killed")  # fmt: skip
    attack("calls-with-x32-numbers", "attempt(system_call, 0x40000000 + 39, 0)")

# Limits.
attack("memory", "x = bytearray(10**10)", ends="memory")
attack("memory-shared", "import mmap\nm = [mmap.mmap(-1, 2**28) for _ in range(10)]", ends="memory processes")
attack("memory-of-many-processes", """
    for _ in range(6):
        try:
            if not os.fork(): break
        except PermissionError: x = bytearray(1 << 40)
    x = bytearray(b'x') * (100 << 20)
    time.sleep(60)
""", ends="memory")  # fmt: skip
attack("processor-time", "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", ends="cpu time")
attack("sleep", "time.sleep(1000)", ends="time")
attack("stop", "os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(1000)", ends="time")
attack("disk", "with open('f', 'wb') as f:\n  while True: f.write(bytes(1 << 20))", ends="disk")
attack(
    "disk-in-many-files", "for i in range(10**6):\n  with open(str(i), 'wb') as f: f.write(bytes(1 << 16))", ends="disk"
)
attack("empty-files", "for i in range(10**7): open(str(i), 'w').close()", ends="disk cpu time")
attack("deep-folders", """
    for i in range(3000):
        try: os.mkdir('d'); os.chdir('d')
        except OSError: break
""")  # fmt: skip
attack("shared-memory-files", "with open('/dev/shm/f', 'wb') as f:\n  while True: f.write(bytes(1 << 20))")
attack("output", "while True: print('x' * 1000)", ends="output")
attack("output-of-errors", "while True: os.write(2, b'x' * 1000)", ends="output")
attack("core-file", "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (1, 1))\nos.abort()", ends="killed")
attack("raise-the-limits", """
    import resource
    for name in 'AS', 'CPU', 'FSIZE', 'NOFILE', 'CORE', 'MEMLOCK':
        attempt(resource.setrlimit, getattr(resource, 'RLIMIT_' + name), (2**40, 2**40))
""")  # fmt: skip

# Verdicts.
attack(
    "print-a-verdict",
    "print('PASS'); print('OK'); print('All tests passed'); print('{\"passed\": true, \"score\": 1.0}')",
)
attack("exit-at-once", "os._exit(0)")
attack("exit", "sys.exit(0)")
attack(
    "exit-later",
    "import atexit\natexit.register(os._exit, 0)\nthreading.Timer(.1, os._exit, [0]).start()\nraise ValueError",
)
attack("write-a-report-everywhere", """
    for number in range(3, 300):
        for line in b'{"code": 0, "ended": ""}\\n', b'ready\\n':
            try: os.write(number, line)
            except OSError: pass
    raise ValueError
""")  # fmt: skip
attack("look-for-the-answer", """
    import gc, inspect
    seen = [sys.argv, sys.orig_argv, dict(os.environ)]
    frame = sys._getframe()
    while frame:
        seen.append({**frame.f_globals, **frame.f_locals}); frame = frame.f_back
    seen += [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple, set))][:100000]
    for folder, _, names in os.walk('/tmp'):
        seen += [open(os.path.join(folder, n)).read() for n in names if n != 'main.py']
    sys.setrecursionlimit(100)
    for o in seen:
        try: text = repr(o)
        except BaseException: continue
        if '-'.join(['THE', 'ANSWER', 'IS']) in text: print('ESCAPED')
""")  # fmt: skip
attack("modules-for-the-next-one", """
    for name in 'json', 'sitecustomize', 'usercustomize', 'unittest', 'rewardsmith', 'main':
        open(name + '.py', 'w').write('print(41)')
    for folder in '/tmp', '/dev/shm', '/var/tmp', os.getcwd():
        try: open(folder + '/left-for-the-next', 'w').write('x')
        except OSError: pass
    subprocess.run([sys.executable, '-c', 'import json'])
""")  # fmt: skip
attack("steer-the-terminal", "print('\\x1b]0;title\\x07\\x1b[2J\\x1b[31mPASS\\x1b[8m')")
attack("timers", "signal.setitimer(signal.ITIMER_REAL, .01, .01)\nsignal.alarm(1)\ntime.sleep(60)", ends="killed")
attack("close-all", "for number in range(3): os.close(number)")
attack("odd-bytes", "os.write(1, bytes(range(256)) * 20)")
attack("patch-everything", """
    import builtins, json, unittest
    for module in builtins, json, unittest.TestCase:
        for name in dir(module):
            try: setattr(module, name, lambda *a, **k: True)
            except BaseException: pass
""")  # fmt: skip
attack("deep-recursion", "def f(): f()\nsys.setrecursionlimit(10**9)\nf()", ends="killed memory cpu time")


def call(name: str, source: str, *, ends: str | None = None) -> None:
    attack(name, source, ends=ends, table=CALLS)


call("equal-to-all", """
    class Equal:
        def __eq__(self, other): return True
        __hash__ = None
    def answer(): return Equal()
""")  # fmt: skip
for base in "int", "str", "list", "dict", "tuple", "float", "set":
    call(f"{base}-equal-to-all", f"""
        class Equal({base}):
            __eq__ = __ne__ = lambda self, other: True
            __hash__ = {base}.__hash__
            __reduce__ = lambda self: (print, ("ESCAPED",))
        def answer(): return [Equal(), (Equal(),)]
    """)  # fmt: skip
FORGE = """
    import json
    def write(text, numbers=range(3, 300)):
        for number in numbers:
            try: os.write(number, text.encode() + b'\\n')
            except OSError: pass
"""
call("answers-in-advance", FORGE + """
    for line in '{"value": true}', '{"id": "", "value": true}', '{"code": 0}', 'PASS', '[["value", 1]]': write(line)
    def answer(): return 1
""")  # fmt: skip
call("answers-of-its-own", FORGE + """
    def answer():
        write('{"id": "0", "value": true, "passed": true}')
        return 1
""")  # fmt: skip
call("two-answers", FORGE + """
    def answer():
        frame = sys._getframe(1)
        write(json.dumps({'id': frame.f_locals['request']['id'], 'value': True}))
        return 1
""")  # fmt: skip
call("flood-of-answers", FORGE + """
    def answer():
        while True: write('{"id": "0", "value": true}')
""")  # fmt: skip
call("an-answer-without-end", """
    def answer():
        while True:
            for number in range(3, 300):
                try: os.write(number, b'[' * 4096)
                except OSError: pass
""")  # fmt: skip
call("nested-answer", FORGE + "\ndef answer(): write('[' * 30000); return 1")
call("nested-value", FORGE + """
    def answer():
        id = sys._getframe(1).f_locals['request']['id']
        write('{"id": "' + id + '", "value": ' + '[' * 5000 + ']' * 5000 + '}')
""")  # fmt: skip
call("kinds-that-are-none", FORGE + """
    def answer():
        id = sys._getframe(1).f_locals['request']['id']
        write('{"id": "' + id + '", "value": {"__import__": ["os"]}}')
""")  # fmt: skip
call("a-long-number", FORGE + """
    def answer():
        id = sys._getframe(1).f_locals['request']['id']
        write('{"id": "' + id + '", "value": ' + '9' * 50000 + '}')
""")  # fmt: skip
call("ask-without-leave", FORGE + """
    def answer(): write('{"ask": {"tuple": ["eval", [], {"dict": []}]}}'); return 1
""")  # fmt: skip
call("exit-with-zero", "def answer(): os._exit(0)")
call("exit-in-the-call", "def answer(): sys.exit(0)")
call("exit-in-the-source", "sys.exit(0)")
call("no-function", "pass")
call("interrupt", "def answer(): raise KeyboardInterrupt")
call("no-answer", "def answer(): time.sleep(1000)", ends="time")
call("close-the-channel", "def answer(): os.closerange(3, 300); time.sleep(1000)", ends="time")
call("error-that-steers-the-terminal", "def answer(): raise ValueError('\\x1b[2J\\x1b]0;PASS\\x07')")
call("error-without-a-text", """
    class Bad(Exception):
        def __str__(self): raise Bad
    def answer(): raise Bad
""")  # fmt: skip
call("a-list-in-itself", "def answer():\n  a = []; a.append(a); return a")
call("a-long-value", "def answer(): return 'x' * 10**7")
call("patched-builtins", """
    import builtins, json
    json.dumps = json.loads = builtins.isinstance = builtins.type = builtins.len = lambda *a, **k: True
    def answer(): return 1
""")  # fmt: skip
call("patched-checker", """
    for module in [m for n, m in sys.modules.items() if n.split('.')[0] in ('rewardsmith', 'json', '__main__')]:
        for name in list(vars(module)):
            if not name.startswith('__') and name != 'answer':
                try: setattr(module, name, lambda *a, **k: {'value': True, 'passed': True})
                except BaseException: pass
    def answer(): return 1
""")  # fmt: skip
call("a-thread-that-answers", FORGE + """
    def later():
        for _ in range(100): write('{"id": "", "value": true}'); time.sleep(.001)
    threading.Thread(target=later, daemon=True).start()
    def answer(): return 1
""")  # fmt: skip
