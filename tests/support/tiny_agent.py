"""An agent of a few lines, in two versions, for tests of how one takes the place of another."""

STAYS = "X = 'the same in all versions, and long enough to be told from the others by its hash'\n"
APP = b"""\
import asyncio
try:
    import warden
    print("agent", warden.VERSIONS)
except (ImportError, AttributeError):  # or one file of the user's in its folder
    print("agent none")
print("application runs")
"""


def write(folder, version):
    """Write the sources below a folder, as they are in a checkout's `device`."""
    files = {
        "warden/__init__.py": "from warden.api import VERSIONS, run, safe_mode, start\n",
        "warden/agent.py": f'VERSION = "{version}"\n',
        "warden/clock.py": STAYS,
        "warden/api.py": "from warden.agent import VERSION\nfrom warden.clock import X\n"
        "from warden.policy.policy import V\n"
        "from warden_schema.codec import C\n"
        "from warden_schema.frame import F\n"
        "from warden_schema.loops import L\n"
        f"VERSIONS = ({version}, V)\n"
        "def start():\n print('started', VERSION, VERSIONS, X, L)\n"
        "def safe_mode():\n pass\n"
        "def run(name):\n exec(open(name).read(), {'__name__': '__main__'})\n"
        "def seldom():\n from warden.requests import X\n"
        f" from warden.only_in_{version}_plain import Y\n",
        "warden/policy/policy.py": f"V = {version}\n" + "Z = 'some text to be copied'\n" * 60,
        "warden/requests.py": STAYS,
        f"warden/only_in_{version}_plain.py": "Y = 1\n",
        "warden_schema/__init__.py": "",
        "warden_schema/codec.py": "C = 1\n",
        "warden_schema/frame.py": "F = 1\n",
        "warden_schema/loops.py": "try:\n from warden_schema.loops_viper import L\n"
        "except (ImportError, ValueError):\n L = 0\n",
        "warden_schema/loops_viper.py": "import micropython\n"
        "@micropython.viper\ndef L(x: int) -> int:\n return x + 1\n",
    }
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder
