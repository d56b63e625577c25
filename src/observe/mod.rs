//! L7: seeing memory. Nothing below imports it.
//!
//! | folder | what |
//! |---|---|
//! | `recording` | the file format of recordings, and its reader, which the launcher shares |
//! | `recorder` | the observer that writes one |
//! | `unwind` | who called: stacks without a lock or an allocation |

mod recorder;
#[allow(
    dead_code,
    reason = "the launcher and the benches, which include this folder, too, read what the library writes"
)]
mod recording;
mod unwind;

/// Runs before the program's own constructors, in the preload library: records if the environment says so.
#[cfg(feature = "preload")]
extern "C" fn constructor() {
    if let Some(config) = recorder::Config::from_environment()
        && recorder::start(config) == Err(recorder::StartError::Refused)
    {
        crate::os::say(format_args!(
            "PYMALLOC_RECORD: the recording cannot be written"
        ));
    }
}

#[cfg(feature = "preload")]
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;
