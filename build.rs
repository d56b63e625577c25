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

/// Where functions lie in the preload library.
const LAYOUT: &str = "src/shim/layout.ld";

/// Whether the linker takes [`LAYOUT`]: of those in use, mold and wild do not.
fn knows_layouts() -> bool {
    // Cargo sets both, and runs this again when either changes, wherever it was said. Asked to by `rerun-if-env-changed`,
    // it would look at its own environment instead.
    let named = ["RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS"]
        .map(|name| std::env::var(name).unwrap_or_default());
    !named
        .iter()
        .any(|text| text.contains("mold") || text.contains("wild"))
}

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
        if knows_layouts() {
            println!("cargo::rerun-if-changed={LAYOUT}");
            let folder =
                std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
            println!("cargo::rustc-cdylib-link-arg=-Wl,-T,{folder}/{LAYOUT}");
            // The loader then puts it at a multiple of that, which the layout counts on; glibc's does so from 2.35 on.
            // Under an older one the kernel's groups begin elsewhere among the functions: some pages more are resident.
            println!("cargo::rustc-cdylib-link-arg=-Wl,-z,max-page-size=65536");
        }
        // What std unwinds by is loaded when it is needed: linked, it costs every process 100 KiB.
        for name in UNWINDER {
            println!(
                "cargo::rustc-cdylib-link-arg=-Wl,--defsym=_Unwind_{name}=pymalloc_unwind_{name}"
            );
        }
    }
}
