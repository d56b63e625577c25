//! What recordings say: read, added up, named, shown.
//!
//! ```text
//! recording ─► usage      live blocks followed through the run; sums per stack
//!                │
//! addresses ─► symbols    function, file and line, inlined calls included
//!                │
//!                ▼
//!              stacks     one tree of calls, for whichever sum is asked
//!                ├─► text: summary, table, tree, leaks, temporary, diff, why
//!                └─► files: folded, flame graph, pprof, speedscope, DHAT, JSON, heat map
//! ```

pub mod dhat;
pub mod flamegraph;
pub mod heat_map;
pub mod json;
pub mod leaks;
pub mod named;
pub mod picture;
pub mod plot;
pub mod pprof;
pub mod proto;
pub mod speedscope;
pub mod summary;
pub mod symbols;
pub mod table;
pub mod tree;
pub mod usage;
pub mod why;
