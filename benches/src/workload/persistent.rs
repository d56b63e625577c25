//! What do persistent maps cost: nodes shared by many live versions, freed when the last one goes?

use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use imbl::{HashMap, OrdMap};

/// Entries per map.
const ENTRIES: usize = 30_000;
/// Versions kept.
const VERSIONS: usize = 200;

pub fn run(m: &mut Meter) -> Result<(), String> {
    let mut rng = Rng::new(11);
    let mut hashed: HashMap<u64, u64> = (0..ENTRIES as u64).map(|i| (i, i)).collect();
    let mut ordered: OrdMap<u64, u64> = (0..ENTRIES as u64).map(|i| (i, i)).collect();
    let mut versions = Vec::with_capacity(VERSIONS);
    let updates = m.pick(60_000, 800_000);
    m.time(2 * updates, || {
        for i in 0..updates {
            let key = rng.below(2 * ENTRIES) as u64;
            if key.is_multiple_of(3) {
                hashed.remove(&key);
                ordered.remove(&key);
            } else {
                hashed.insert(key, i);
                ordered.insert(key, i);
            }
            if i % 50 == 0 {
                let version = (hashed.clone(), ordered.clone());
                if versions.len() < VERSIONS {
                    versions.push(version);
                } else {
                    let at = rng.below(VERSIONS);
                    versions[at] = version;
                }
            }
        }
    });
    m.live();
    m.time(0, || drop((versions, hashed, ordered)));
    Ok(())
}
