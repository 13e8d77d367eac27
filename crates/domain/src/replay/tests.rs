//! Replaying small logs by hand.
