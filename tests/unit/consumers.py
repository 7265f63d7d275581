#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What Nova and the placement service say about a file for them, by their own code.

usage: consumers.py DIR nova FILE-DIRECTORY     prints what nova-compute makes of *.yaml in there
       consumers.py DIR placement FILE          is FILE a body that sets one inventory?

DIR is where Debian's python3-nova and python3-placement are unpacked. Of Nova only the module that
reads these files is loaded; what it imports of the rest of Nova is stood in for.
"""
import json
import sys
import types


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    module.__path__ = []
    sys.modules[name] = module


def nova(directory):
    class ProviderConfigException(Exception):
        def __init__(self, error):
            super().__init__(error)

    import importlib.util
    stand_in("nova", exception=types.SimpleNamespace(ProviderConfigException=ProviderConfigException))
    stand_in("nova.i18n", _=lambda text: text)
    spec = importlib.util.spec_from_file_location(
        "provider_config", sys.argv[1] + "/usr/lib/python3/dist-packages/nova/compute/provider_config.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(json.dumps(module.get_provider_configs(directory), indent=1, sort_keys=True))


def placement(path):
    import jsonschema
    sys.path.insert(0, sys.argv[1] + "/usr/lib/python3/dist-packages")
    from placement.schemas import inventory
    with open(path) as f:
        jsonschema.validate(json.load(f), inventory.BASE_INVENTORY_SCHEMA)


if __name__ == "__main__":
    {"nova": nova, "placement": placement}[sys.argv[2]](sys.argv[3])
