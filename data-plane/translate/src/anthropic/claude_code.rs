//! What Claude Code writes into its requests, and translation has to know.

/// Start of its first system block. It differs between sessions and would spoil every
/// prefix cache.
pub(crate) const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// What it puts around reminders for models without system messages between turns.
pub(crate) const REMINDER_START: &str = "<system-reminder>\n";
pub(crate) const REMINDER_END: &str = "\n</system-reminder>";
