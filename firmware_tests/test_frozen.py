# targets: frozen qemu
"""A firmware test of frozen code means nothing if a copy on the path is what runs."""

import warden


def test_frozen_code_has_no_rival_on_the_path():
    # A frozen module's file is relative: it was compiled under its name within the manifest.
    assert not warden.__file__.startswith("/"), warden.__file__
