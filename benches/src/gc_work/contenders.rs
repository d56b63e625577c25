//! The contenders that have handles: each as its documentation shows it.

use super::graph::Graph;
use std::cell::{Cell, RefCell};

/// This library.
pub struct Ours;

pub struct OurNode {
    edges: [pymalloc::object::Slot<OurNode>; 3],
    key: u64,
    more: u64,
}
pymalloc::impl_trace!(struct OurNode { edges, key, more });

impl Graph for Ours {
    type Handle = pymalloc::object::Gc<OurNode>;
    const AUTOMATIC: bool = true;

    fn make(key: u64) -> Self::Handle {
        let edges = Default::default();
        pymalloc::object::Gc::new(OurNode {
            edges,
            key,
            more: key,
        })
    }

    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
        from.edges[slot].set(to);
    }

    fn key(node: &Self::Handle) -> u64 {
        node.key ^ node.more
    }

    fn collect() {
        pymalloc::gc::collect();
    }

    fn automatic(on: bool) {
        if on {
            pymalloc::gc::enable();
        } else {
            pymalloc::gc::disable();
        }
    }
}

/// `std::rc::Rc`, which leaks cycles.
pub struct Counted;

pub struct CountedNode {
    edges: [Cell<Option<std::rc::Rc<CountedNode>>>; 3],
    key: u64,
    more: u64,
}

impl Graph for Counted {
    type Handle = std::rc::Rc<CountedNode>;
    const AUTOMATIC: bool = true;
    const COLLECTS: bool = false;

    fn make(key: u64) -> Self::Handle {
        let edges = Default::default();
        std::rc::Rc::new(CountedNode {
            edges,
            key,
            more: key,
        })
    }

    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
        from.edges[slot].set(to);
    }

    fn key(node: &Self::Handle) -> u64 {
        node.key ^ node.more
    }

    fn collect() {}
}

/// dumpster 2: trial deletion over hash maps.
pub struct Dumpster;

#[derive(dumpster::Trace)]
pub struct DumpsterNode {
    edges: [RefCell<Option<dumpster::unsync::Gc<DumpsterNode>>>; 3],
    key: u64,
}

impl Graph for Dumpster {
    type Handle = dumpster::unsync::Gc<DumpsterNode>;
    const AUTOMATIC: bool = true;

    fn make(key: u64) -> Self::Handle {
        let edges = Default::default();
        dumpster::unsync::Gc::new(DumpsterNode { edges, key })
    }

    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
        *from.edges[slot].borrow_mut() = to;
    }

    fn key(node: &Self::Handle) -> u64 {
        node.key
    }

    fn collect() {
        dumpster::unsync::collect();
    }

    fn automatic(on: bool) {
        if on {
            dumpster::unsync::set_collect_condition(dumpster::unsync::default_collect_condition);
        } else {
            dumpster::unsync::set_collect_condition(|_| false);
        }
    }
}

/// bacon_rajan_cc: Bacon and Rajan's synchronous cycle collection.
pub struct Bacon;

pub struct BaconNode {
    edges: [RefCell<Option<bacon_rajan_cc::Cc<BaconNode>>>; 3],
    key: u64,
}

impl bacon_rajan_cc::Trace for BaconNode {
    fn trace(&self, tracer: &mut bacon_rajan_cc::Tracer) {
        self.edges.iter().for_each(|edge| edge.trace(tracer));
    }
}

impl Graph for Bacon {
    type Handle = bacon_rajan_cc::Cc<BaconNode>;
    const AUTOMATIC: bool = false;

    fn make(key: u64) -> Self::Handle {
        let edges = Default::default();
        bacon_rajan_cc::Cc::new(BaconNode { edges, key })
    }

    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
        *from.edges[slot].borrow_mut() = to;
    }

    fn key(node: &Self::Handle) -> u64 {
        node.key
    }

    fn collect() {
        bacon_rajan_cc::collect_cycles();
    }
}

macro_rules! gcmodule {
    ($contender:ident $node:ident $krate:ident) => {
        pub struct $contender;

        pub struct $node {
            edges: [RefCell<Option<$krate::Cc<$node>>>; 3],
            key: u64,
        }

        impl Graph for $contender {
            type Handle = $krate::Cc<$node>;
            const AUTOMATIC: bool = false;

            fn make(key: u64) -> Self::Handle {
                let edges = Default::default();
                $krate::Cc::new($node { edges, key })
            }

            fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
                *from.edges[slot].borrow_mut() = to;
            }

            fn key(node: &Self::Handle) -> u64 {
                node.key
            }

            fn collect() {
                let _ = $krate::collect_thread_cycles();
            }
        }
    };
}

gcmodule!(Gcmodule GcmoduleNode gcmodule);
gcmodule!(Jrsonnet JrsonnetNode jrsonnet_gcmodule);

impl gcmodule::Trace for GcmoduleNode {
    fn trace(&self, tracer: &mut gcmodule::Tracer<'_>) {
        self.edges.iter().for_each(|edge| edge.trace(tracer));
    }
}

impl jrsonnet_gcmodule::Trace for JrsonnetNode {
    fn trace(&self, tracer: &mut jrsonnet_gcmodule::Tracer<'_>) {
        self.edges.iter().for_each(|edge| edge.trace(tracer));
    }
}

/// rust-cc: Lins' algorithm.
pub struct RustCc;

pub struct RustCcNode {
    edges: [RefCell<Option<rust_cc::Cc<RustCcNode>>>; 3],
    key: u64,
}

// SAFETY: each edge is traced, and dropping looks at none.
unsafe impl rust_cc::Trace for RustCcNode {
    fn trace(&self, context: &mut rust_cc::Context<'_>) {
        self.edges.iter().for_each(|edge| edge.trace(context));
    }
}

impl rust_cc::Finalize for RustCcNode {}

impl Graph for RustCc {
    type Handle = rust_cc::Cc<RustCcNode>;
    const AUTOMATIC: bool = true;

    fn make(key: u64) -> Self::Handle {
        let edges = Default::default();
        rust_cc::Cc::new(RustCcNode { edges, key })
    }

    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
        *from.edges[slot].borrow_mut() = to;
    }

    fn key(node: &Self::Handle) -> u64 {
        node.key
    }

    fn collect() {
        rust_cc::collect_cycles();
    }

    fn automatic(on: bool) {
        let _ = rust_cc::config::config(|config| config.set_auto_collect(on));
    }
}

/// boa_gc: mark and sweep with root counts.
pub struct Boa;

#[derive(boa_gc::Trace, boa_gc::Finalize)]
pub struct BoaNode {
    edges: [boa_gc::GcRefCell<Option<boa_gc::Gc<BoaNode>>>; 3],
    key: u64,
}

impl Graph for Boa {
    type Handle = boa_gc::Gc<BoaNode>;
    const AUTOMATIC: bool = true;

    fn make(key: u64) -> Self::Handle {
        let edges = [(); 3].map(|()| boa_gc::GcRefCell::new(None));
        boa_gc::Gc::new(BoaNode { edges, key })
    }

    fn set(from: &Self::Handle, slot: usize, to: Option<Self::Handle>) {
        *from.edges[slot].borrow_mut() = to;
    }

    fn key(node: &Self::Handle) -> u64 {
        node.key
    }

    fn collect() {
        boa_gc::force_collect();
    }
}
