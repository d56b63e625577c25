//! Link arguments of the preload library.

/// What std imports of libgcc.
const UNWINDER: [&str; 11] = [
    "Backtrace",
    "GetDataRelBase",
    "GetIP",
    "GetIPInfo",
    "GetLanguageSpecificData",
    "GetRegionStart",
    "GetTextRelBase",
    "RaiseException",
    "Resume",
    "SetGR",
    "SetIP",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    // Threads may still call us when somebody closes the library.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    if std::env::var_os("CARGO_FEATURE_PRELOAD").is_some() {
        // Our own calls and addresses of our exports are ours, also where the executable defines the
        // same names: that is how its definitions are told from ours. (Plain -Bsymbolic would also make
        // the loader look here first when we ask what the program finds.)
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
        // std, which a cdylib links whole, imports this function; it allocates, so it must not be
        // reached from malloc. Nothing of ours calls it: the stub says so and aborts.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--defsym=__tls_get_addr=pymalloc_no_tls");
        // The same of the library that std unwinds panics by, and only panics: nothing of ours does, and loading it
        // costs every process 100 KiB.
        for name in UNWINDER {
            println!(
                "cargo::rustc-cdylib-link-arg=-Wl,--defsym=_Unwind_{name}=pymalloc_no_unwinder"
            );
        }
    }
}
