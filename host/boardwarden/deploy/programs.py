"""The programs that deploying runs on the board, each the body of a function.

They must run on any MicroPython from 1.19 on, and be short: the board compiles them. A file is
never half there under its own name: what is new is written under `WORK` in the board's `lib`,
checked there, and then moved into place by `switch`, which can be carried out again from wherever
it was interrupted.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from textwrap import indent

from .parts import PACKAGES

WORK = ".boardwarden"  # in the board's lib, while something is under way
# Before the name of a package that goes, in lib too: littlefs renames from one folder to another in
# two steps, and a power cut between them may hide other entries of the first until the next write.
OLD = ".boardwarden-old-"
MANIFEST = "deployed.txt"  # in warden/: what deploy put on the board
ANSWER_BEGIN, ANSWER_END = "<<<bw ", " bw>>>"

_KIND = """\
import os
def kind(path):
 try:
  return os.stat(path)[0] & 0x4000 or 1
 except OSError:
  return 0
"""
_REMOVE = """\
def remove(path):
 if kind(path) == 0x4000:
  for entry in list(os.ilistdir(path)):
   remove(path + '/' + entry[0])
  os.rmdir(path)
 elif kind(path):
  os.remove(path)
"""


def wrapped(body: str) -> str:
    """Return the program that prints what the body of a function returns, or which error it met."""
    function = "def _bw():\n" + indent(body, " ")
    return f"""{function}
try:
 _bw = ("value", _bw())
except OSError as e:
 _bw = ("os", e.args[0] if e.args else 0)
except MemoryError:
 _bw = ("memory", 0)
print({ANSWER_BEGIN!r} + repr(_bw) + {ANSWER_END!r})
del _bw
"""


PROBE = """\
import sys
def has(name):
 try:
  return __import__(name)
 except ImportError:
  return None
hashes = hasattr(has('hashlib'), 'sha256')
base64 = has('binascii') is not None
agent = sys.modules.get('warden')
loaded = agent is not None
if hasattr(agent, 'stop'):
 agent.stop()
for name in list(sys.modules):
 if name.split('.')[0] in ('warden', 'warden_schema'):
  del sys.modules[name]
path = sys.path[:]
frozen = None
sys.path[:] = ['.frozen']
try:
 import warden
 frozen = getattr(warden, 'VERSION', None)
 if frozen is None:
  from warden.agent import VERSION as frozen
except ImportError:
 pass
sys.path[:] = path
for name in list(sys.modules):
 if name.split('.')[0] in ('warden', 'warden_schema'):
  del sys.modules[name]
what = sys.implementation
os = has('os')
files = hasattr(os, 'rename')
return (sys.platform, getattr(what, '_machine', ''), list(what.version), getattr(what, '_mpy', 0),
 os.getcwd() if files else '', path, hashes, base64, frozen, loaded)
"""


# The largest block is found by trying, to the nearest 64th: what a board prints of it differs
# between versions. The pools of names are only printed, and not on every board.
HEAP = """\
import gc, sys
for _ in range(3):
 gc.collect()
free = gc.mem_free()
total = free + gc.mem_alloc()
low = 0
high = free + 1
while high - low > max(64, high >> 6):
 middle = (low + high) // 2
 try:
  bytearray(middle)
  low = middle
 except MemoryError:
  high = middle
 gc.collect()
try:
 import micropython
 micropython.qstr_info()
except (ImportError, AttributeError):
 pass
return (total, free, low, sys.maxsize >> 31 >> 1)
"""
# The first ROMFS partition: its size, that of a block which is erased at once, whether it is a
# block device, and what it begins with. As `mpremote romfs` asks for it.
PARTITION = """\
try:
 import vfs
 rom = vfs.rom_ioctl(2, 0) if vfs.rom_ioctl(1) > 0 else -1
except (ImportError, AttributeError):
 return None
if isinstance(rom, int):
 return None
device = hasattr(rom, 'ioctl')
if device:
 block = rom.ioctl(5, 0)
 size = rom.ioctl(4, 0) * block
else:
 size = len(rom)
 block = vfs.rom_ioctl(6, 0)
 if block <= 0:
  block = size
return (size, block, device, bytes(memoryview(rom)[:12]))
"""
_ROM = """\
import vfs
def check(result):
 if isinstance(result, int) and result < 0:
  raise OSError(-result)
 return result
"""


def read_rom(start: int, count: int) -> str:
    """Return a piece of the ROMFS partition."""
    return f"{_ROM}return bytes(memoryview(vfs.rom_ioctl(2, 0))[{start}:{start + count}])\n"


def hash_rom(count: int) -> str:
    """Return the SHA-256 of the first bytes of the ROMFS partition."""
    return f"""{_ROM}
import hashlib
rom = memoryview(vfs.rom_ioctl(2, 0))
digest = hashlib.sha256()
for start in range(0, {count}, 512):
 digest.update(rom[start:min(start + 512, {count})])
return digest.digest()
"""


def erase_rom(start: int, count: int, block: int, whole: bool, device: bool) -> str:
    """Erase some blocks; return how many bytes must be written at once.

    whole: the partition is erased from its begin, however much it is.
    """
    unmount = "try:\n vfs.umount('/rom')\nexcept OSError:\n pass\n"
    if device:
        last = (start + count + block - 1) // block
        return (
            f"{_ROM}{unmount}rom = vfs.rom_ioctl(2, 0)\n"
            f"for block in range({start // block}, {last}):\n check(rom.ioctl(6, block))\n"
            "return 1\n"
        )
    place = f"{count}" if whole else f"{start}, {count}"
    return f"{_ROM}{unmount}return check(vfs.rom_ioctl(3, 0, {place}))\n"


def write_rom(start: int, piece: bytes, block: int, device: bool, base64: bool) -> str:
    """Write a piece into what was erased."""
    data = _literal(piece, base64)
    if device:
        place = f"{start // block}, {data}, {start % block}"
        return f"{_ROM}check(vfs.rom_ioctl(2, 0).writeblocks({place}))\n"
    return f"{_ROM}check(vfs.rom_ioctl(4, 0, {start}, {data}))\n"


# Not every port knows this, and those that do not need none.
END_ROM = f"{_ROM}vfs.rom_ioctl(5, 0)\n"


def heal(root: str) -> str:
    """Have littlefs finish a rename that a power cut interrupted, as it does before any write."""
    return f"""\
import os
try:
 os.remove({root!r} + '/.boardwarden-none')
except OSError:
 pass
"""


def inspect(lib: str, root: str) -> str:
    """Return (lib, files of both packages, those under WORK, whether it was switching, free bytes).

    Files are (name, size); a folder inside a package has the size -1.
    """
    return f"""{_KIND}
def names(folder):
 found = []
 for package in {PACKAGES!r}:
  if kind(folder + '/' + package) == 0x4000:
   for entry in os.ilistdir(folder + '/' + package):
    name = package + '/' + entry[0]
    size = -1 if entry[1] & 0x4000 else os.stat(folder + '/' + name)[6]
    found.append((name, size))
 return found
work = {lib!r} + '/{WORK}'
olds = [package for package in {PACKAGES!r} if kind({lib!r} + '/{OLD}' + package)]
try:
 state = os.statvfs({root!r})
 free = state[1] * state[4]
except (OSError, AttributeError):
 free = None
return (
 kind({lib!r}), names({lib!r}), names(work + '/new'), kind(work) or olds,
 kind(work + '/switch'), free)
"""


def shadows(paths: Sequence[str]) -> str:
    """Return those of the paths that are there."""
    return f"{_KIND}\nreturn [path for path in {list(paths)!r} if kind(path)]\n"


def hashes(folder: str, names: Sequence[str]) -> str:
    """Return the SHA-256 of files, as bytes."""
    return f"""\
import hashlib
found = []
buffer = bytearray(512)
view = memoryview(buffer)
for name in {list(names)!r}:
 digest = hashlib.sha256()
 with open({folder!r} + '/' + name, 'rb') as file:
  while True:
   count = file.readinto(buffer)
   if not count:
    break
   digest.update(view[:count])
 found.append(digest.digest())
return found
"""


def make_folders(folders: Sequence[str]) -> str:
    """Make folders that are not there."""
    return f"{_KIND}\nfor folder in {list(folders)!r}:\n kind(folder) or os.mkdir(folder)\n"


def write(path: str, piece: bytes, mode: str, close: bool, base64: bool) -> str:
    """Write a piece of a file. mode: to open it with, "" where it is open; else it stays so."""
    data = _literal(piece, base64)
    opened = f"_bw_file = open({path!r}, {mode!r})\n" if mode else ""
    closed = "_bw_file.close()\ndel _bw_file\n" if close else ""
    return f"global _bw_file\n{opened}_bw_file.write({data})\n{closed}"


def _literal(data: bytes, base64: bool) -> str:
    """Return an expression for bytes, which takes less to send where the board knows base64."""
    if not base64:
        return repr(data)
    text = binascii.b2a_base64(data, newline=False)
    return f"__import__('binascii').a2b_base64({text!r})"


def read(path: str, start: int, count: int) -> str:
    """Return a piece of a file."""
    return f"with open({path!r}, 'rb') as file:\n file.seek({start})\n return file.read({count})\n"


def size(path: str) -> str:
    """Return a file's size, None if there is none."""
    return f"{_KIND}\nreturn os.stat({path!r})[6] if kind({path!r}) == 1 else None\n"


def mentions(root: str, word: bytes) -> str:
    """Return whether a .py file in a folder has the word in it."""
    return f"""\
import os
for entry in os.ilistdir({root!r}):
 if entry[0].endswith('.py') and not entry[1] & 0x4000:
  with open({root!r} + '/' + entry[0], 'rb') as file:
   before = b''
   while True:
    piece = file.read(256)
    if not piece:
     break
    if {word!r} in before + piece:
     return True
    before = piece[-{len(word)}:]
return False
"""


def begin_switch(lib: str, keep: Sequence[str]) -> str:
    """Write down what `switch` keeps of what is there. From here on there is only forward."""
    work = f"{lib}/{WORK}"
    lines = "".join(f"{name}\n" for name in keep)
    return f"""{_KIND}{_REMOVE}
for package in {PACKAGES!r}:
 remove({lib!r} + '/{OLD}' + package)
with open({work!r} + '/switching', 'w') as file:
 file.write({lines!r})
os.rename({work!r} + '/switching', {work!r} + '/switch')
"""


def switch(lib: str) -> str:
    """Put the new packages in the place of the old ones; then remove the old ones.

    At each moment the board has the old agent whole, none, or the new one whole: `warden` goes
    first and comes last. Where nothing is staged, and nothing kept, there is no package any more.
    """
    first, last = PACKAGES
    return f"""{_KIND}{_REMOVE}
lib = {lib!r} + '/'
work = lib + '{WORK}/'
with open(work + 'switch') as file:
 keep = file.read().split('\\n')[:-1]
for package in {(first, last)!r}:
 if kind(work + 'new/' + package) and kind(lib + package):
  os.rename(lib + package, lib + '{OLD}' + package)
for name in keep:
 if kind(lib + '{OLD}' + name):
  os.rename(lib + '{OLD}' + name, work + 'new/' + name)
for package in {(last, first)!r}:
 if kind(work + 'new/' + package):
  if list(os.ilistdir(work + 'new/' + package)):
   os.rename(work + 'new/' + package, lib + package)
  else:
   os.rmdir(work + 'new/' + package)
remove(lib + '{WORK}')
for package in {PACKAGES!r}:
 remove(lib + '{OLD}' + package)
"""


def remove(paths: Sequence[str]) -> str:
    """Remove files, and folders with all that is in them."""
    return f"{_KIND}{_REMOVE}\nfor path in {list(paths)!r}:\n remove(path)\n"


def remove_empty(folders: Sequence[str]) -> str:
    """Remove folders that are there and empty."""
    return f"""{_KIND}
for folder in {list(folders)!r}:
 if kind(folder) == 0x4000 and not list(os.ilistdir(folder)):
  os.rmdir(folder)
"""


def rename(old: str, new: str) -> str:
    """Rename a file or folder; a file takes the place of one that is there."""
    return f"import os\nos.rename({old!r}, {new!r})\n"


def complete_start(lib: str, root: str, names: Sequence[str]) -> str:
    """Bring to an end what an interruption left of exchanging a file.

    On FAT a file is removed before another takes its name: if it was interrupted just there, the
    whole new one is still under WORK.
    """
    return f"""{_KIND}
for name in {list(names)!r}:
 made = {lib!r} + '/{WORK}/' + name
 if kind(made) == 1:
  if kind({root!r} + '/' + name):
   os.remove(made)
  else:
   os.rename(made, {root!r} + '/' + name)
"""


# A unix port has no soft reset: the end of the REPL is the end of the process.
RUN_FILES = """\
for _bw in ("boot.py", "main.py"):
 try:
  _bw = open(_bw).read()
 except OSError:
  continue
 try:
  exec(_bw)
 except Exception as e:
  import sys
  sys.print_exception(e)
"""


def run_agent(watching: bool) -> str:
    """Run the agent for as long as nobody resets the board."""
    given = "protect=False" if watching else ""
    return f"""\
import time, warden
warden.start({given})
while True:
 time.sleep_ms(max(1, min(20, warden.poll())))
"""
