//! The command line from outside: one program, because linking one for each file takes long.

mod config;
mod contract;
mod demo;
mod disk;
mod export;
mod feeds;
mod forget;
mod formats;
mod keys;
mod mapping;
mod past;
mod policy;
mod privacy;
mod read_models;
mod refused;
mod review;
mod settings;
mod support;
mod uploads;
