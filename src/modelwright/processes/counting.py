"""What the gateways of a server count together, in files of the data directory."""

from __future__ import annotations

import logging
from pathlib import Path

from modelwright.adapters.counters.mapped import FOLDER, MappedCounters
from modelwright.adapters.counters.shared_quota import FILE, SharedQuota
from modelwright.ports.counters import Counters
from modelwright.ports.quota import Quota
from modelwright.processes.gateway_options import GatewayOptions
from modelwright.serve.tally import OwnCounters

_logger = logging.getLogger("modelwright.gateway")


def counters_of(run: Path, options: GatewayOptions) -> Counters:
    """The gateway's part of the figures of its server; of a gateway without a supervisor, all of them."""
    return MappedCounters(run / FOLDER, options.gateway_id) if options.supervised else OwnCounters()


def quota_of(run: Path, options: GatewayOptions) -> Quota | None:
    """One allowance for all gateways of the data directory; None: this one counts for itself."""
    if not options.supervised:
        return None
    try:
        return SharedQuota(run / FILE)
    except OSError as error:
        _logger.warning("the rates of tokens are counted by each gateway for itself (%s)", error)
        return None
