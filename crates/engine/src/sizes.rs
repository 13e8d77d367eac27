//! From which sizes on the work is done in another way, which costs less for many and more for few. The outcome is the same.

/// Sizes that decide how the work is done, never what comes of it. Tests set them to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Up to so many bytes of unknown rows are kept rather than read again.
    pub kept_bytes: usize,
    /// For a payload of fewer bytes that speaks only of whom it names, known rows are not read.
    pub small_bytes: usize,
    /// Up to so many unknown rows, all that may tell who they are is looked up at once.
    pub few_rows: usize,
    /// Unknown rows resolved at a time beyond that: enough to ask the store for many, and few beside the payload.
    pub resolved_together: usize,
    /// With more rows than this to compare, the roster is read through once beforehand.
    pub skim_from: usize,
    /// Up to so many new identifiers are sorted in memory.
    pub idents_in_memory: usize,
    /// Up to so many bytes of rows that an application changes stay in memory until they are written.
    pub rows_in_memory: usize,
    /// A projection takes at most so many events before it writes down what they left.
    pub projected_together: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            kept_bytes: 16 << 20,
            small_bytes: 256 << 10,
            few_rows: 65_536,
            resolved_together: 65_536,
            skim_from: 20_000,
            idents_in_memory: 262_144,
            rows_in_memory: 4 << 20,
            projected_together: 65_536,
        }
    }
}

impl Sizes {
    /// Everything is taken for much.
    pub const SMALLEST: Sizes = Sizes {
        kept_bytes: 0,
        small_bytes: 0,
        few_rows: 0,
        resolved_together: 1,
        skim_from: 0,
        idents_in_memory: 0,
        rows_in_memory: 0,
        projected_together: 1,
    };
}
