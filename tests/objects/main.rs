//! Objects: handles, weak references, finalizers, and the programs that broke other collectors.

mod handles;
mod soundness;
mod support;
