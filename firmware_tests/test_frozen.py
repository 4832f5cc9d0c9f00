# targets: frozen qemu
"""A firmware test of frozen code means nothing if a copy on the path is what runs."""

import warden


def test_the_frozen_agent_is_the_one_imported():
    # A frozen module's file is relative: it was compiled under its name within the manifest.
    assert not warden.__file__.startswith("/"), warden.__file__
