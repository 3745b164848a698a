"""The actions of the security agent: everything that it may put on record.

A name is never removed, since records keep it: what is no longer recorded becomes ``retired=True``.
"""

from __future__ import annotations

from typing import Final

from permalog import Action, Catalogue
from security_agent import judgement_payloads as judgements
from security_agent import payloads

FINDING: Final = "security_finding"
CONFIG: Final = "agent_config"
INTEGRATION: Final = "integration"
AUDIT_LOG: Final = "audit_log"

CATALOGUE: Final = Catalogue(
    [
        Action("security.finding.created", FINDING, "Finding created", payloads.FindingCreated),
        Action("security.finding.status_change", FINDING, "Finding status changed", payloads.FindingStatusChanged),
        Action(
            "security.finding.severity_changed", FINDING, "Finding severity changed", payloads.FindingSeverityChanged
        ),
        Action("security.finding.dismissed", FINDING, "Finding dismissed", judgements.FindingDismissed),
        Action(
            "security.finding.auto_dismissed",
            FINDING,
            "Finding dismissed automatically",
            judgements.FindingAutoDismissed,
        ),
        Action("security.finding.analysis_started", FINDING, "Analysis started", judgements.AnalysisChanged),
        Action("security.finding.analysis_completed", FINDING, "Analysis completed", judgements.AnalysisChanged),
        Action("security.finding.analysis_failed", FINDING, "Analysis failed", judgements.AnalysisChanged),
        Action("security.finding.deleted", FINDING, "Finding deleted", payloads.FindingDeleted),
        Action(
            "security.finding.write_back_completed",
            FINDING,
            "Dismissal written back to the source",
            judgements.WriteBackCompleted,
        ),
        Action("security.config.enabled", CONFIG, "Security agent enabled", payloads.ConfigurationChanged),
        Action("security.config.disabled", CONFIG, "Security agent disabled", payloads.ConfigurationChanged),
        Action("security.config.updated", CONFIG, "Configuration updated", payloads.ConfigurationChanged),
        Action("security.sync.triggered", CONFIG, "Sync triggered", payloads.SyncTriggered),
        Action("security.sync.completed", CONFIG, "Sync completed", payloads.SyncCompleted),
        Action("security.installation.connected", INTEGRATION, "Installation connected", payloads.InstallationChanged),
        Action("security.installation.suspended", INTEGRATION, "Installation suspended", payloads.InstallationChanged),
        Action("security.installation.removed", INTEGRATION, "Installation removed", payloads.InstallationChanged),
        Action("security.compliance_report.generated", AUDIT_LOG, "Compliance report generated"),
    ],
)
"""What the agent declares when it opens the log."""
