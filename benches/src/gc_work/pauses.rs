//! How long automatic collections of ours stop a program that keeps changing its live objects.

use super::Sample;
use super::contenders::Ours;
use super::graph::Graph;
use super::workloads::Random;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

/// Collections of one generation: their pauses in microseconds.
type Pauses = Rc<RefCell<[Vec<f64>; 3]>>;

fn watch() -> Pauses {
    let pauses = Pauses::default();
    let (seen, started) = (pauses.clone(), Cell::new(Instant::now()));
    pymalloc::gc::add_callback(move |when, info| match when {
        pymalloc::gc::When::Start => started.set(Instant::now()),
        pymalloc::gc::When::Stop => {
            let pause = started.get().elapsed().as_secs_f64() * 1e6;
            seen.borrow_mut()[info.generation].push(pause);
        }
    });
    pauses
}

/// Live nodes, each leading to a random other one; the program replaces one in a hundred as it goes.
pub fn run(size: &str) -> Option<Sample> {
    let n = match size {
        "1m" => 1 << 20,
        "4m" => 4 << 20,
        _ => return None,
    };
    let mut random = Random::new();
    let mut nodes: Vec<_> = (0..n as u64).map(Ours::make).collect();
    pymalloc::gc::collect();
    let pauses = watch();
    let started = Instant::now();
    let made = 20_000_000;
    for key in 0..made as u64 {
        let (a, b) = (Ours::make(key), Ours::make(key));
        Ours::set(&a, 0, Some(b.clone()));
        Ours::set(&b, 0, Some(a.clone()));
        if key % 100 == 0 {
            let at = random.below(n);
            Ours::set(&a, 1, Some(nodes[random.below(n)].clone()));
            nodes[at] = a;
        }
    }
    let rate = 2.0 * f64::from(made) / started.elapsed().as_secs_f64() / 1e6;
    let mut more = vec![("million objects per second".to_owned(), rate)];
    let mut worst = 0.0_f64;
    for (generation, pauses) in pauses.borrow_mut().iter_mut().enumerate() {
        pauses.sort_by(f64::total_cmp);
        let Some(last) = pauses.last().copied() else {
            continue;
        };
        let at = |share: f64| pauses[((pauses.len() - 1) as f64 * share) as usize];
        more.push((
            format!("generation {generation}: pauses"),
            pauses.len() as f64,
        ));
        more.push((format!("generation {generation}: median us"), at(0.5)));
        more.push((format!("generation {generation}: 99 % us"), at(0.99)));
        more.push((format!("generation {generation}: longest us"), last));
        worst = worst.max(last);
    }
    std::mem::forget(nodes);
    Some(Sample { value: worst, more })
}
