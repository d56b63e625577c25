//! What does growth in place, or the lack of it, cost?

use crate::worker::meter::Meter;
use std::hint::black_box;

/// A `Vec<u8>` is appended to, 4 KiB at a time, until it holds 1 GiB (quick: 256 MiB): `realloc` doubles.
pub fn large(m: &mut Meter) -> Result<(), String> {
    const STEP: [u8; 4096] = [1; 4096];
    let bytes: usize = m.pick(256 << 20, 1 << 30);
    let vec = m.time(bytes as u64 / 1024, || {
        let mut vec = Vec::new();
        while vec.len() < bytes {
            vec.extend_from_slice(&STEP);
        }
        black_box(vec)
    });
    m.live();
    m.time(0, || drop(vec));
    Ok(())
}

/// Short `Vec`s and `String`s grown push by push, a thousand of them live at a time.
pub fn small(m: &mut Meter) -> Result<(), String> {
    const LISTS: usize = 500;
    const PUSHES: usize = 200;
    let rounds = m.pick(40, 200);
    for round in 0..rounds {
        let pushes = (2 * LISTS * PUSHES) as u64;
        let lists = m.time(pushes, || {
            let mut numbers = vec![Vec::<u32>::new(); LISTS];
            let mut strings = vec![String::new(); LISTS];
            for i in 0..PUSHES {
                for (list, string) in numbers.iter_mut().zip(&mut strings) {
                    list.push(i as u32);
                    string.push((b'a' + (i % 26) as u8) as char);
                }
            }
            black_box((numbers, strings))
        });
        if round + 1 == rounds {
            m.live();
        }
        m.time(0, || drop(lists));
    }
    Ok(())
}
