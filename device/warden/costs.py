"""What a sample costs, part by part; imported when somebody asks."""

from micropython import const

from warden_schema.loops import renew as _renew

_NOT_KNOWN = const(45)  # in the sample: see `sampler`

PARTS = ("load", "memory", "network", "storage", "figures", "history", "policy", "capabilities")

# The period is known from what it begins with.
_ORDER = ("figures", "load", "memory", "network", "storage", "history", "policy", "capabilities")


def parts(agent):
    """Return what a sample consists of, a function for each of PARTS: see `plain.sample`."""
    sampler = agent.sampler
    values = agent.values
    unknown = values[_NOT_KNOWN]

    def load():
        if agent.load.attach():
            agent.load.read()

    def begin():
        _renew(agent)

    def file():
        nonlocal unknown
        unknown = agent.history.add(values[0])

    def compare():
        if unknown != values[_NOT_KNOWN]:
            sampler.see_capabilities(unknown)

    def decide():
        if agent.policy is not None:
            agent.policy.look(values[29])

    return {
        "load": load,
        "memory": agent.memory.read,
        "network": sampler.read_network,
        "storage": sampler.read_storage,
        "figures": begin,
        "history": file,
        "policy": decide,
        "capabilities": compare,
    }


def cost(agent):
    """Take a sample; return what each of PARTS took of it, in µs."""
    functions = parts(agent)
    took = {}
    for name in _ORDER:
        part = functions[name]
        began = agent.ticks_us()
        part()
        took[name] = agent.ticks_diff(agent.ticks_us(), began)
    return [took[name] for name in PARTS]
