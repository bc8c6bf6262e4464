"""What a scan went through before it came here, and what that means for results made from it."""

from medinr.jobs.audit.audit import audit, audit_volume
from medinr.jobs.audit.finding import Finding, verdict

__all__ = ["Finding", "audit", "audit_volume", "verdict"]
