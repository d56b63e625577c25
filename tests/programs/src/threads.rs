//! Many threads: blocks that are grown and freed by other threads than those that made them, and
//! blocks that outlive their thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crossbeam_channel::bounded;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::material::{Random, digest};

/// Items that pass through a pipeline or a runtime, whatever the number of threads.
const ITEMS: usize = 8000;

/// Short-lived threads, whatever the number of those that live at once.
const THREADS: usize = 480;

/// A block of a size that changes with its number: mostly small, now and then 100 KB.
fn payload(item: usize) -> Vec<u8> {
    let mut random = Random::new(item as u64);
    let bytes = match random.below(100) {
        0 => 100_000,
        1..10 => random.below(5000),
        _ => random.below(600),
    };
    (0..bytes).map(|at| (at ^ item) as u8).collect()
}

/// Made by one stage, grown by the next, shrunk and boxed by a third, freed by a fourth: four stages of
/// `threads` threads each, joined by bounded channels many threads read and write.
pub fn pipeline(threads: usize) -> String {
    let (to_growers, made) = bounded::<(usize, Vec<u8>)>(64);
    let (to_boxers, grown) = bounded::<(usize, Vec<u8>)>(64);
    let (to_end, boxed) = bounded::<(usize, Box<[u8]>, String)>(64);
    let digests = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for first in 0..threads {
            let (to_growers, made, to_boxers) =
                (to_growers.clone(), made.clone(), to_boxers.clone());
            let (grown, to_end, boxed, digests) =
                (grown.clone(), to_end.clone(), boxed.clone(), &digests);
            scope.spawn(move || {
                for item in (first..ITEMS).step_by(threads) {
                    to_growers
                        .send((item, payload(item)))
                        .expect("growers listen");
                }
            });
            scope.spawn(move || {
                for (item, mut bytes) in made {
                    bytes.extend_from_within(..);
                    to_boxers.send((item, bytes)).expect("boxers listen");
                }
            });
            scope.spawn(move || {
                for (item, mut bytes) in grown {
                    bytes.truncate(bytes.len() * 3 / 4);
                    let name = format!("{item}:{:016x}", digest(&bytes));
                    to_end
                        .send((item, bytes.into_boxed_slice(), name))
                        .expect("the end listens");
                }
            });
            scope.spawn(move || {
                for (item, bytes, name) in boxed {
                    let line = format!("{name}:{}:{:?}", bytes.len(), bytes.last());
                    digests.lock().expect("no thread panics").insert(item, line);
                }
            });
        }
        drop((to_growers, made, to_boxers, grown, to_end, boxed));
    });
    let digests = digests.into_inner().expect("no thread panics");
    assert_eq!(digests.len(), ITEMS, "every item came through");
    digests.into_values().collect::<Vec<_>>().join("\n")
}

/// std's channels: workers get whole maps of strings from one producer and send merged ones back.
pub fn channels(threads: usize) -> String {
    let (back, results) = mpsc::channel::<HashMap<String, Vec<String>>>();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let back = back.clone();
            let (to_worker, jobs) = mpsc::channel::<HashMap<String, Vec<String>>>();
            let worker = thread::spawn(move || {
                let mut merged: HashMap<String, Vec<String>> = HashMap::new();
                for job in jobs {
                    for (key, mut values) in job {
                        merged.entry(key).or_default().append(&mut values);
                    }
                }
                back.send(merged).expect("the collector listens");
            });
            (to_worker, worker)
        })
        .collect();
    let mut random = Random::new(6);
    for job in 0..ITEMS / 8 {
        let mut map: HashMap<String, Vec<String>> = HashMap::new();
        for value in 0..40 {
            map.entry(random.word().to_owned())
                .or_default()
                .push(format!("{job} {value} {}", random.sentence(3)));
        }
        workers[job % threads]
            .0
            .send(map)
            .expect("the worker listens");
    }
    drop(back);
    for (to_worker, worker) in workers {
        drop(to_worker);
        worker.join().expect("the worker ends");
    }
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, mut values) in results.into_iter().flatten() {
        all.entry(key).or_default().append(&mut values);
    }
    all.values_mut().for_each(|values| values.sort());
    format!("{all:?}")
}

/// Waves of short-lived threads; what they leave outlives them and is freed by later ones.
pub fn churn(threads: usize) -> String {
    let mut left: Vec<Arc<str>> = Vec::new();
    let mut output = String::new();
    for wave in 0..THREADS.div_ceil(threads) {
        let inherited = Arc::new(Mutex::new(std::mem::take(&mut left)));
        let wave: Vec<_> = (wave * threads..THREADS.min((wave + 1) * threads))
            .map(|number| {
                let inherited = Arc::clone(&inherited);
                thread::spawn(move || {
                    let mut random = Random::new(number as u64);
                    let mut made: Vec<Arc<str>> =
                        (0..300).map(|_| random.sentence(5).into()).collect();
                    let digests = made
                        .iter()
                        .map(|text| digest(text.as_bytes()))
                        .fold(0, u64::wrapping_add);
                    made.retain(|text| text.len() % 2 == 0);
                    // Some of what others left dies here, on a thread that did not make it.
                    for _ in 0..200 {
                        drop(inherited.lock().expect("no thread panics").pop());
                    }
                    (number, made, digests)
                })
            })
            .collect();
        for thread in wave {
            let (number, made, digests) = thread.join().expect("the thread ends");
            output += &format!("{number} {} {digests:016x}\n", made.len());
            left.extend(made);
        }
    }
    output
}

/// Tasks of a `tokio` runtime with that many workers, then of one that runs on this thread.
pub fn tasks(threads: usize) -> String {
    let many = Builder::new_multi_thread()
        .worker_threads(threads)
        .build()
        .expect("the runtime starts");
    let output = many.block_on(fan_out());
    drop(many);
    let one = Builder::new_current_thread()
        .build()
        .expect("the runtime starts");
    assert_eq!(
        one.block_on(fan_out()),
        output,
        "both runtimes make the same"
    );
    output
}

/// Each task receives a block over a channel from another task and answers with its digest.
async fn fan_out() -> String {
    let mut tasks = JoinSet::new();
    for item in 0..ITEMS / 2 {
        let (to_task, mut parts) = tokio::sync::mpsc::channel::<Vec<u8>>(2);
        tasks.spawn(async move {
            for part in payload(item).chunks(1000) {
                to_task
                    .send(part.to_vec())
                    .await
                    .expect("the other task listens");
                tokio::task::yield_now().await;
            }
            (item, String::new())
        });
        tasks.spawn(async move {
            let mut whole = Vec::new();
            while let Some(part) = parts.recv().await {
                whole.extend(part);
            }
            (
                item,
                format!("{item} {} {:016x}", whole.len(), digest(&whole)),
            )
        });
    }
    let mut lines = tasks.join_all().await;
    lines.sort();
    lines
        .into_iter()
        .map(|(_, line)| line)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}
