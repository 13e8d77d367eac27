//! End-to-end tests: one module a user story.

#[cfg(test)]
mod api;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod beside_import;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod crates;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod faults_broker;
#[cfg(test)]
mod faults_projector;
#[cfg(test)]
mod faults_relay;
#[cfg(test)]
mod faults_workers;
#[cfg(test)]
mod feeds;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod handing_in;
#[cfg(test)]
mod import;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod muster;
#[cfg(test)]
mod observing;
#[cfg(test)]
mod projections;
#[cfg(test)]
mod review;
#[cfg(test)]
mod scheduling;
#[cfg(test)]
mod served;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod telling;
#[cfg(test)]
mod whole;
