//! The command line from outside: one program, because linking one for each file takes long.

mod config;
mod contract;
mod demo;
mod review;
mod support;
