//! End-to-end tests: one module a user story.

#[cfg(test)]
mod crates;
#[cfg(test)]
mod docs;
