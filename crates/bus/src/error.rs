//! What can go wrong on the bus, by what a caller can do about it.

/// The result of a call of the bus.
pub type Result<T, E = BusError> = std::result::Result<T, E>;

/// Why something was not published. No variant carries a password or a message's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// Not confirmed: it certainly went to nobody. Try again later.
    #[error("not confirmed, refused: {0}")]
    Refused(String),
    /// Not confirmed: the broker is there and refuses this one, for a queue of it; another queue may have taken it. Try this
    /// one again later, and others now.
    #[error("not confirmed, not taken: {0}")]
    NotTaken(String),
    /// Not confirmed: it may have arrived or not. Publish it again; twice does no harm.
    #[error("not confirmed, in doubt: {0}")]
    InDoubt(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl BusError {
    /// Whether it may have arrived all the same.
    pub fn in_doubt(&self) -> bool {
        matches!(self, BusError::InDoubt(_))
    }
}
