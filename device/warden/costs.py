"""What a sample costs, part by part; imported when somebody asks."""

PARTS = ("load", "memory", "network", "storage", "figures", "history", "policy", "capabilities")

# The period is known from what it begins with.
_ORDER = ("figures", "load", "memory", "network", "storage", "history", "policy", "capabilities")


def parts(agent):
    """Return what a sample consists of, a function for each of PARTS: see `Sampler.take`."""
    sampler = agent.sampler
    values = agent.values
    unknown = sampler.unknown

    def file():
        nonlocal unknown
        unknown = agent.history.add(values[0])

    def compare():
        if unknown != sampler.unknown:
            sampler.see_capabilities(unknown)

    def decide():
        if agent.policy is not None:
            agent.policy.look(values[29])

    return {
        "load": agent.load.read,
        "memory": agent.memory.read,
        "network": sampler.read_network,
        "storage": sampler.read_storage,
        "figures": sampler.begin,
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
