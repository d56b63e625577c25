//! Whatever the system refuses, the allocator gives null or a good block, keeps what it holds, and works
//! again when the system does.
//!
//! The test's executable stands between the allocator and the C library (`exhaustion/hooks.rs`).

#[path = "support/child.rs"]
mod child;
#[path = "exhaustion/hooks.rs"]
mod hooks;
#[path = "exhaustion/mappings.rs"]
mod mappings;
#[path = "support/rng.rs"]
mod rng;
#[path = "exhaustion/workload.rs"]
mod workload;

use std::alloc::System;
use std::os::unix::process::CommandExt;

// The test's own memory must not fail: only the allocator under test sees the hooks.
#[global_allocator]
static GLOBAL: System = System;

/// Runs `f` in a copy of this process, where the allocator was not used yet. What it returned, below 256.
fn in_copy(what: &str, f: impl FnOnce() -> u8) -> u8 {
    // SAFETY: the process has this thread, and the test harness's, which waits for it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        child::watchdog(30);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: ends the copy without the parent's exit handlers.
        unsafe { libc::_exit(result.map_or(255, i32::from)) };
    }
    let mut status = 0;
    // SAFETY: the copy made above.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 255,
        "{what}: status {status:#x}"
    );
    libc::WEXITSTATUS(status) as u8
}

/// The program under refusals, then once more without: then nothing may fail.
fn bears(what: &str, first: usize, how_many: usize, which: usize) {
    in_copy(what, || {
        hooks::arm(first, how_many, which);
        workload::run(1);
        hooks::disarm();
        workload::again();
        0
    });
}

/// Calls the program makes, on a shared page because they are more than an exit status can say.
fn calls(which: usize) -> usize {
    // SAFETY: a new mapping.
    let page = unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    }
    .cast::<usize>();
    in_copy("counting", || {
        hooks::arm(0, 0, which);
        assert_eq!(workload::run(1), 0, "refused without a reason");
        // SAFETY: mapped above.
        unsafe { page.write(hooks::disarm()) };
        0
    });
    // SAFETY: mapped above; written by the copy that ended.
    unsafe { page.read() }
}

const ALL: usize = usize::MAX;

/// Runs `f` in a process of its own, where nothing else runs.
fn alone(test: &str, f: impl FnOnce()) {
    if child::part().is_some() {
        child::no_core();
        return f();
    }
    let mut command = child::command(test, "alone");
    // One arena of the system's malloc, which the test's own memory is from, and none made when refusals begin.
    command.env("MALLOC_ARENA_MAX", "1");
    child::passed(test, &command.output().unwrap());
}

/// Bytes that blocks of `size` in `room` bytes of memory hold at least; fewer where small ones are guarded: tag and pads
/// take 150 bytes each.
fn least_of(room: usize, size: usize) -> usize {
    let share = if child::is_guarded() && size < 1000 {
        6
    } else {
        4
    };
    room / share
}

/// From one refused call to the next that is tried: guarded blocks take many more calls, and each run longer.
fn stride() -> usize {
    if child::is_guarded() { 5 } else { 1 }
}

#[test]
fn the_allocators_calls_come_through_here() {
    alone("the_allocators_calls_come_through_here", || {
        in_copy("counting", || {
            let before = hooks::counts();
            workload::run(1);
            for (family, (now, before)) in hooks::FAMILIES
                .iter()
                .zip(hooks::counts().iter().zip(before))
            {
                // Guarded blocks are copied and cleared, whatever their size.
                let asked = !child::is_guarded() || !["mremap", "mincore"].contains(family);
                assert!(!asked || *now > before, "no call of {family}");
            }
            0
        });
    });
}

#[test]
fn every_single_refusal_is_borne() {
    alone("every_single_refusal_is_borne", || {
        let n = calls(ALL);
        println!("{n} calls");
        assert!(n > 50, "{n} calls");
        for k in (1..=n).step_by(stride()) {
            bears(&format!("call {k} of {n} refused"), k, 1, ALL);
        }
    });
}

#[test]
fn every_kth_refusal_is_borne() {
    alone("every_kth_refusal_is_borne", || {
        let n = calls(ALL);
        // From half on it is a single refusal.
        for k in (2..=n / 2).step_by(stride()) {
            in_copy(&format!("every {k}th call of {n} refused"), || {
                hooks::arm_every(k);
                workload::run(1);
                hooks::disarm();
                workload::again();
                0
            });
        }
    });
}

#[test]
fn refusals_without_end_are_borne() {
    alone("refusals_without_end_are_borne", || {
        let n = calls(ALL);
        for k in (1..=n).step_by(7 * stride()) {
            bears(
                &format!("all calls from {k} of {n} on refused"),
                k,
                usize::MAX,
                ALL,
            );
        }
    });
}

#[test]
fn a_family_that_never_works_is_borne() {
    alone("a_family_that_never_works_is_borne", || {
        for (index, family) in hooks::FAMILIES.iter().enumerate() {
            bears(
                &format!("{family} always refused"),
                1,
                usize::MAX,
                1 << index,
            );
            let n = calls(1 << index);
            for k in (2..=n).step_by(1 + n / 10) {
                bears(
                    &format!("{family} refused from call {k} of {n} on"),
                    k,
                    usize::MAX,
                    1 << index,
                );
            }
        }
    });
}

#[test]
fn nothing_fails_but_what_asks_for_memory() {
    // Without munmap, madvise, mremap and mincore every request can still be served.
    alone("nothing_fails_but_what_asks_for_memory", || {
        for which in [1 << 1, 1 << 2, 1 << 4, 1 << 8, 0b1_0110, 0b1110_0000] {
            let nulls = in_copy("giving back refused", || {
                hooks::arm(1, usize::MAX, which);
                workload::run(1).min(254) as u8
            });
            assert_eq!(nulls, 0, "families {which:#b}");
        }
    });
}

#[test]
fn zeroed_memory_is_zero_where_giving_memory_back_does_nothing() {
    let test = "zeroed_memory_is_zero_where_giving_memory_back_does_nothing";
    alone(test, || {
        in_copy("madvise that lies", || {
            hooks::lie();
            for _ in 0..3 {
                assert_eq!(workload::run(1), 0);
                workload::dirty_then_zeroed();
            }
            0
        });
    });
}

#[test]
fn locked_memory_is_zero_when_asked_and_nothing_fails() {
    let test = "locked_memory_is_zero_when_asked_and_nothing_fails";
    alone(test, || {
        in_copy("mlockall", || {
            // SAFETY: no conditions.
            let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
            assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
            assert_eq!(workload::run(1), 0);
            workload::dirty_then_zeroed();
            0
        });
    });
}

#[test]
fn a_kernel_that_knows_no_names_is_asked_for_one_once() {
    alone("a_kernel_that_knows_no_names_is_asked_for_one_once", || {
        let asked = |error| {
            in_copy("naming", || {
                let before = hooks::names(error);
                // A dozen arenas at least.
                workload::every_second(100, 300_000);
                u8::try_from(hooks::names(0) - before).unwrap()
            })
        };
        let all = asked(0);
        assert!(all > 10, "{all} of them named");
        assert_eq!(asked(libc::EINVAL), 1);
        // Nothing it says of one mapping is true of the next.
        assert_eq!(asked(libc::ENOMEM), all);
    });
}

/// A machine that promises no more memory than it has, with 64 MiB left.
#[test]
fn memory_that_is_not_promised_is_refused_and_the_rest_is_used() {
    let test = "memory_that_is_not_promised_is_refused_and_the_rest_is_used";
    alone(test, || {
        const LEFT: usize = 64 << 20;
        in_copy("no overcommit", || {
            hooks::promise_at_most(LEFT);
            for size in [64, 2000, 100_000, 600_000, 3_000_000] {
                let had = workload::fill_up(size);
                println!("{:.1} MiB in blocks of {size}", had as f64 / 1048576.0);
                assert!(
                    had > least_of(LEFT, size) && had <= LEFT,
                    "{had} bytes of {size}"
                );
            }
            hooks::promise_everything();
            workload::again();
            0
        });
        for left in [0, 1, 2, 4, 8, 16, 32, 48] {
            in_copy(&format!("{left} MiB left"), || {
                hooks::promise_at_most(left << 20);
                workload::run(1);
                hooks::promise_everything();
                workload::again();
                0
            });
        }
    });
}

/// The kernel's own refusal, `vm.max_map_count`: other mappings of the process have used it up.
#[test]
fn the_kernels_number_of_mappings_may_be_used_up() {
    alone("the_kernels_number_of_mappings_may_be_used_up", || {
        for left in [0, 1, 2, 5, 10, 30, 100, 1000] {
            in_copy(&format!("{left} mappings left"), || {
                let others = mappings::Others::all_but(left);
                workload::run(1);
                drop(others);
                workload::again();
                0
            });
        }
    });
}

/// As a map of 60 GB would have it: every second block goes, and as many come again.
#[test]
fn two_hundred_thousand_large_blocks_need_few_mappings() {
    let test = "two_hundred_thousand_large_blocks_need_few_mappings";
    alone(test, || {
        in_copy("200,000 blocks", || {
            let others = mappings::Others::all_but(1500);
            let nulls = workload::every_second(200_000, 300_000);
            // The pages that guard a block are mappings.
            assert!(nulls == 0 || child::is_guarded(), "{nulls} refused");
            drop(others);
            workload::again();
            0
        });
        // Where not even those are left, some requests are refused, and nothing that was had is lost.
        for left in [0, 10, 100] {
            in_copy(&format!("{left} mappings left"), || {
                let others = mappings::Others::all_but(left);
                let nulls = workload::every_second(200_000, 300_000);
                println!("{left} mappings left: {nulls} refused");
                drop(others);
                workload::again();
                0
            });
        }
    });
}

#[test]
fn a_small_address_space_is_filled_and_emptied() {
    filled_and_emptied(
        "a_small_address_space_is_filled_and_emptied",
        libc::RLIMIT_AS,
        &[64, 72, 100, 128, 200, 256, 400],
    );
}

/// The kernel counts what may be written, and refuses to make a page accessible again that a guard kept: what such
/// a page belongs to must not be lost.
#[test]
fn a_limit_of_writable_memory_is_filled_and_emptied() {
    filled_and_emptied(
        "a_limit_of_writable_memory_is_filled_and_emptied",
        libc::RLIMIT_DATA,
        &[64, 100],
    );
}

/// Fills memory with blocks of one size after another in processes that may have so many MiB of `resource`.
fn filled_and_emptied(test: &str, resource: libc::__rlimit_resource_t, limits: &[u64]) {
    if let Some(part) = child::part() {
        child::no_core();
        child::watchdog(60);
        let limit: usize = part.parse().unwrap();
        for size in [64, 2000, 100_000, 600_000, 3_000_000] {
            let had = workload::fill_up(size);
            println!(
                "{} MiB: {:.1} MiB in blocks of {size}",
                limit >> 20,
                had as f64 / 1048576.0
            );
            assert!(
                had > least_of(limit, size),
                "{had} bytes of {limit} in blocks of {size}"
            );
        }
        return;
    }
    // Guarded blocks are filled, looked at, and their stacks taken: three sizes in so small a room say enough.
    let most = if child::is_guarded() { 100 } else { u64::MAX };
    for mib in limits.iter().filter(|mib| **mib <= most) {
        let limit = libc::rlimit {
            rlim_cur: mib << 20,
            rlim_max: mib << 20,
        };
        let mut command = child::command(test, &(mib << 20).to_string());
        // The system's malloc reserves 64 MiB for a second thread, which the test's is, if they fit.
        command.env("MALLOC_ARENA_MAX", "1");
        // SAFETY: setrlimit is safe to call between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(resource, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let output = command.output().unwrap();
        child::passed(&format!("{mib} MiB"), &output);
    }
}
