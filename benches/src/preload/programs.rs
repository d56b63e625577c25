//! The real programs: which there are, what they are given to do, and how their inputs are made.
//!
//! Inputs are generated once into `target/bench/inputs`; the scripts lie in `benches/programs`.

use super::{CPYTHON, Kind, PROGRAMS, Program, redis};
use crate::cli::Common;
use crate::report::SUFFIX;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names and what they do.
pub const CATALOGUE: &[(&str, &str)] = &[
    (
        "gcc",
        "gcc -O2 compiles a generated C file of 120 functions.",
    ),
    (
        "g++",
        "g++ -O2 compiles a generated C++ file of templates and containers.",
    ),
    (
        "sqlite3",
        "A database in memory: inserts, indexes, joins, aggregates.",
    ),
    ("perl", "Hashes, sorts and string building."),
    (
        "git",
        "git repacks a repository of 200 commits from scratch with two threads.",
    ),
    (
        "node",
        "Buffers, maps and JSON; V8 has its own heap for the rest.",
    ),
    ("xz", "xz -1 -T2 compresses 8 MiB in blocks of 2 MiB."),
    ("zstd", "zstd -12 -T2 compresses 8 MiB."),
    ("lua", "Tables, closures and string building."),
    (
        "jq",
        "A JSON document of 8,000 records filtered and grouped.",
    ),
    (
        "redis",
        "A server in memory under 150,000 pipelined commands; the client is not measured.",
    ),
    (
        "py-json",
        "CPython: JSON encoded and decoded. With /malloc: PYTHONMALLOC=malloc.",
    ),
    (
        "py-objects",
        "CPython: classes, lists, dicts. With /malloc as above.",
    ),
    (
        "py-strings",
        "CPython: text, regular expressions, sorting. With /malloc as above.",
    ),
    (
        "py-threads",
        "CPython: four threads, queues, hashing, compression. With /malloc as above.",
    ),
];

/// The group a catalogue entry belongs to.
pub fn kind(name: &str) -> Kind {
    if name.starts_with("py-") {
        CPYTHON
    } else {
        PROGRAMS
    }
}

/// The programs that are installed, with their inputs made.
pub fn prepare(
    common: &Common,
    inputs: &Path,
    left_out: &mut Vec<String>,
) -> Result<Vec<Program>, String> {
    let mut programs = Vec::new();
    let wanted = |name: &str| {
        let key = kind(name).key;
        common.wants(name, key) || common.wants(&format!("{name}{SUFFIX}"), key)
    };
    for (name, _) in CATALOGUE.iter().filter(|(name, _)| wanted(name)) {
        let (executable, package) = match *name {
            name if name.starts_with("py-") => ("python3.11", "python3.11"),
            "node" => ("node", "nodejs"),
            "xz" => ("xz", "xz-utils"),
            "lua" => ("lua5.4", "lua5.4"),
            "redis" => ("redis-server", "redis-server"),
            name => (name, name),
        };
        let Some(executable) = locate(executable) else {
            left_out.push(format!(
                "{name}: no {executable} (Debian: apt install {package})"
            ));
            continue;
        };
        programs.extend(program(name, executable, inputs)?);
    }
    Ok(programs)
}

/// The file behind a command. Version managers put scripts in the way; CPython says itself where it is.
fn locate(command: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders)
        .map(|f| f.join(command))
        .find(|path| path.is_file())?;
    if !command.starts_with("python") {
        return Some(found);
    }
    let output = Command::new(&found)
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// What a program is given to do.
fn arguments(name: &str, inputs: &Path) -> Result<Vec<OsString>, String> {
    let script = |file: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("programs")
            .join(file)
            .into_os_string()
    };
    Ok(match name {
        "gcc" => compile(input(inputs, "big.c", c_source)?),
        "g++" => compile(input(inputs, "big.cpp", cpp_source)?),
        "sqlite3" => vec![
            ":memory:".into(),
            "-init".into(),
            script("memory.sql"),
            ".quit".into(),
        ],
        "perl" => vec![script("words.pl")],
        "node" => vec![script("objects.js")],
        "lua" => vec![script("objects.lua")],
        "jq" => vec![
            "-c".into(),
            "group_by(.kind) | map({kind: .[0].kind, n: length, sum: (map(.score) | add), names: (map(.name) | unique)})".into(),
            input(inputs, "records.json", json)?,
        ],
        "redis" => ["--port", "0", "--unixsocket", redis::SOCKET, "--save", "", "--appendonly", "no"]
            .map(Into::into)
            .into(),
        "git" => [
            "-c",
            "pack.threads=2",
            "-c",
            "gc.auto=0",
            "repack",
            "-q",
            "-a",
            "-d",
            "-f",
        ]
        .map(Into::into)
        .into(),
        "xz" => vec![
            "-T2".into(),
            "--block-size=2MiB".into(),
            "-1".into(),
            "-k".into(),
            "-c".into(),
            input(inputs, "mixed.txt", mixed)?,
        ],
        "zstd" => vec![
            "-T2".into(),
            "-12".into(),
            "-k".into(),
            "-c".into(),
            "-q".into(),
            input(inputs, "mixed.txt", mixed)?,
        ],
        _ => vec![script(&format!("{}.py", name.replace('-', "_")))],
    })
}

/// What a compiler is given to do.
fn compile(source: OsString) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-O2".into(), "-c".into(), source];
    arguments.extend(["-o", "/dev/null"].map(OsString::from));
    arguments
}

/// A catalogue entry as one program, or two for a Python script.
fn program(name: &str, executable: PathBuf, inputs: &Path) -> Result<Vec<Program>, String> {
    let arguments = arguments(name, inputs)?;
    let folder = if name == "git" {
        repository(inputs, &executable)?
    } else {
        inputs.to_owned()
    };
    let mut all = vec![OsString::from(executable)];
    all.extend(arguments);
    let program = |name: String, kind, environment| Program {
        kind,
        arguments: all.clone(),
        environment,
        folder: folder.clone(),
        companion: match name.as_str() {
            "redis" => format!("{} {REDIS_COMMANDS}", redis::COMMAND),
            _ => String::new(),
        },
        // Debian's is linked against jemalloc.
        once: false,
        brings_allocator: name == "redis",
        name,
    };
    if !name.starts_with("py-") {
        return Ok(vec![program(name.into(), PROGRAMS, vec![])]);
    }
    let fixed = ("PYTHONHASHSEED", "0");
    Ok(vec![
        program(name.into(), CPYTHON, vec![fixed]),
        program(
            format!("{name}{SUFFIX}"),
            CPYTHON,
            vec![fixed, ("PYTHONMALLOC", "malloc")],
        ),
    ])
}

/// Commands the redis row serves.
const REDIS_COMMANDS: u64 = 150_000;

/// 8,000 records for jq.
fn json() -> String {
    let record = |i: u64| {
        let random = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!(
            "{{\"id\":{i},\"kind\":\"kind{}\",\"name\":\"name {}\",\"score\":{},\"tags\":[\"a{}\",\"b\"]}}",
            random >> 60,
            (random >> 40) % 3000,
            (random >> 20) % 1000,
            random % 7
        )
    };
    format!(
        "[{}]",
        (0..8_000).map(record).collect::<Vec<_>>().join(",\n")
    )
}

/// The path of a generated file, made if it is missing.
fn input(inputs: &Path, name: &str, content: fn() -> String) -> Result<OsString, String> {
    let path = inputs.join(name);
    if !path.exists() {
        let part = inputs.join(format!("{name}.part"));
        let made = fs::write(&part, content()).and_then(|()| fs::rename(&part, &path));
        made.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(path.into())
}

/// Functions of the generated C file.
const N_FUNCTIONS: usize = 120;

fn c_source() -> String {
    let mut out = "#include <stdio.h>\n#include <string.h>\nstruct node { struct node *next; int key; double weight; char name[24]; };\n".to_owned();
    for i in 0..N_FUNCTIONS {
        let _ = write!(
            out,
            "int f{i}(struct node *n, int x) {{\n  int sum = 0;\n  for (struct node *p = n; p; p = p->next) {{\n    \
             switch ((p->key + x) % 7) {{\n    case 0: sum += p->key * {}; break;\n    case 1: sum ^= strlen(p->name) << {}; break;\n    \
             case 2: p->weight *= 1.{i}; break;\n    case 3: sum += snprintf(p->name, sizeof p->name, \"n%d\", sum); break;\n    \
             default: sum += x > {} ? p->key : -x;\n    }}\n  }}\n  return sum;\n}}\n",
            i % 97 + 3,
            i % 5,
            i % 31
        );
    }
    out += "int all(struct node *n) {\n  int sum = 0;\n";
    for i in 0..N_FUNCTIONS {
        let _ = writeln!(out, "  sum += f{i}(n, sum);");
    }
    out + "  return sum;\n}\n"
}

fn cpp_source() -> String {
    let mut out = "#include <algorithm>\n#include <map>\n#include <memory>\n#include <string>\n#include <unordered_map>\n#include <vector>\n\
                   template <int N> struct Shape { virtual ~Shape() = default; std::array<int, N> sides{}; virtual int area() const { int a = 0; for (int s : sides) a += s * N; return a; } };\n"
        .replace("#include <algorithm>", "#include <algorithm>\n#include <array>");
    for i in 1..3 {
        let _ = write!(
            out,
            "struct T{i} : Shape<{i}> {{ std::map<std::string, std::vector<int>> index; }};\nint g{i}(const std::vector<std::string>& words) {{\n  \
             auto shape = std::make_unique<T{i}>();\n  std::unordered_map<std::string, std::shared_ptr<T{i}>> table;\n  \
             for (const auto& w : words) {{ shape->index[w].push_back({i}); table.emplace(w + std::to_string({i}), std::make_shared<T{i}>()); }}\n  \
             std::vector<std::pair<std::string, int>> all;\n  for (auto& [w, list] : shape->index) {{ std::sort(list.begin(), list.end(), [](int a, int b) {{ return a % {i} < b % {i}; }}); all.emplace_back(w, list.size()); }}\n  \
             std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) {{ return a.second > b.second; }});\n  return all.size() + table.size() + shape->area();\n}}\n"
        );
    }
    out
}

/// 8 MiB that compress neither well nor badly: words, numbers, and some noise.
fn mixed() -> String {
    let mut out = String::with_capacity(9 << 20);
    let mut state = 88_172_645_463_325_252u64;
    while out.len() < 8 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = ["arena", "pool", "block", "page", "heap", "thread"][(state >> 8) as usize % 6];
        let _ = match state % 4 {
            0 => write!(out, "{word} {} ", state % 10_000),
            1 => write!(out, "{word}-{word}\n    "),
            2 => write!(out, "{:x},", state >> 24),
            _ => write!(out, "the {word} is {} ", state % 100),
        };
    }
    out
}

/// A repository of 200 commits over 60 files, made by `git fast-import`.
fn repository(inputs: &Path, git: &Path) -> Result<PathBuf, String> {
    let folder = inputs.join("repository");
    if folder.join("HEAD").exists() {
        return Ok(folder);
    }
    let part = inputs.join("repository.part");
    let fail = |what: &dyn std::fmt::Display| format!("{}: {what}", part.display());
    let _ = fs::remove_dir_all(&part);
    let run = |arguments: &[&str], stdin: Stdio| {
        let status = Command::new(git)
            .args(arguments)
            .stdin(stdin)
            .status()
            .map_err(|e| fail(&e))?;
        if status.success() {
            Ok(())
        } else {
            Err(fail(&format!("git {}: {status}", arguments[0])))
        }
    };
    let part_name = part
        .to_str()
        .ok_or_else(|| fail(&"the path is not UTF-8"))?;
    run(&["init", "-q", "--bare", part_name], Stdio::null())?;
    let commits = inputs.join("commits.part");
    fs::write(&commits, fast_import()).map_err(|e| fail(&e))?;
    let file = fs::File::open(&commits).map_err(|e| fail(&e))?;
    run(
        &["--git-dir", part_name, "fast-import", "--quiet"],
        file.into(),
    )?;
    fs::rename(&part, &folder).map_err(|e| fail(&e))?;
    Ok(folder)
}

fn fast_import() -> String {
    let mut out = String::new();
    let source = c_source();
    let lines: Vec<&str> = source.lines().collect();
    for commit in 0..200 {
        let message = format!("change {commit}");
        let _ = write!(
            out,
            "commit refs/heads/master\ncommitter Bench <bench@example.org> {} +0000\ndata {}\n{message}\n",
            1_700_000_000 + commit,
            message.len()
        );
        for file in (0..60).filter(|file| commit == 0 || (file * 7 + commit) % 12 == 0) {
            let mut body = lines[file * 16..(file + 1) * 16 + commit].join("\n");
            let _ = write!(body, "\n// changed in {commit}\n");
            let _ = write!(
                out,
                "M 100644 inline src/file{file}.c\ndata {}\n{body}\n",
                body.len()
            );
        }
    }
    out
}
