//! The engine from outside: one program, because linking one for each file takes minutes.

mod cut;
mod directory;
mod folding;
mod given_log;
mod log;
mod moments;
mod privacy;
mod projections;
mod queue;
mod renewal;
mod rules_arrival;
mod rules_claims;
mod rules_completeness;
mod rules_duplicates;
mod rules_forgetting;
mod rules_formats;
mod rules_given;
mod rules_guards;
mod rules_handover;
mod rules_identity;
mod rules_last_words;
mod rules_liveness;
mod rules_review;
mod rules_settings;
mod rules_undo;
mod year;
