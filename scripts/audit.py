"""Known vulnerabilities of the packages in this environment, by pip-audit: `python scripts/audit.py`.

Exit status 1 where there are any. Where no vulnerability service can be reached it says so and does no harm.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_SERVICES = ("pypi", "osv")
_SECONDS = 20


def main() -> int:
    for service in _SERVICES:
        packages = audited(service)
        if packages:
            return tell(service, packages)
    print(
        f"audit: no vulnerability service can be reached ({', '.join(_SERVICES)}); no package was looked up"
    )
    return 0


def audited(service: str) -> list[dict[str, Any]]:
    """The packages that this service knows, each with its `vulns`; none where it cannot be reached."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "-s",
        service,
        "-f",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run([*command, "--timeout", str(_SECONDS)], capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []
    return [each for each in dependencies if "skip_reason" not in each]


def tell(service: str, packages: list[dict[str, Any]]) -> int:
    found = [(each, fault) for each in packages for fault in each["vulns"]]
    for each, fault in found:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"audit: {each['name']} {each['version']}: {fault['id']}, fixed in {fixed}")
    print(f"audit: {len(packages)} packages looked up at {service}, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
