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
        "warden/__init__.py": "from warden_schema.loops import V\nfrom .api import V as W\n"
        "VERSIONS = (V, W)\ndef start():\n print('started', VERSIONS)\n",
        "warden/agent.py": f'VERSION = "{version}"\n',
        "warden/api.py": f"V = {version}\n" + "# long\nZ = 'some text to be copied'\n" * 60,
        "warden/sampler.py": STAYS,
        f"warden/only_in_{version}.py": "Y = 1\n",
        "warden_schema/__init__.py": "",
        "warden_schema/loops.py": f"V = {version}\n",
        "warden_schema/codec.py": STAYS,
        "warden_schema/frame.py": STAYS,
        "warden_schema/fast.py": "@micropython.viper\ndef f(x: int) -> int:\n return x + 1\n",
    }
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder
