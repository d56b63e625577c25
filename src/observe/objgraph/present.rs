//! [`Drawing`]: a graph as text, in a file, as a picture made by Graphviz.

use core::fmt;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A graph in Graphviz's language.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drawing {
    /// The text.
    pub dot: String,
    /// Objects in it.
    pub n_nodes: usize,
}

/// What became of a drawing. Its `Display` text is objgraph's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The file with the text.
    pub dot_file: PathBuf,
    /// Objects in the graph.
    pub n_nodes: usize,
    /// What was made of the text.
    pub picture: Picture,
}

/// What was made of the text of a drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Picture {
    /// Nothing else was asked for.
    None,
    /// A picture in this file.
    Image(PathBuf),
    /// The viewer `xdot` was started.
    Viewer,
    /// `xdot` is not installed: a picture in this file.
    ImageForViewer(PathBuf),
    /// `dot` did not make one.
    Failed {
        /// What it ended with; the number of a signal is negative.
        code: i32,
        /// The call.
        command: String,
    },
    /// `dot` is not installed.
    NoRenderer,
    /// Neither `xdot` nor `dot` is installed.
    NoViewer,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, n) = (self.dot_file.display(), self.n_nodes);
        write!(f, "Graph written to {file} ({n} nodes)")?;
        match &self.picture {
            Picture::None => Ok(()),
            Picture::Image(path) => write!(f, "\nImage generated as {}", path.display()),
            Picture::Viewer => f.write_str("\nSpawning graph viewer (xdot)"),
            Picture::ImageForViewer(path) => write!(
                f,
                "\nGraph viewer (xdot) not found, generating a png instead\nImage generated as {}",
                path.display()
            ),
            Picture::Failed { code, command } => write!(
                f,
                "\ndot failed (exit code {code}) while executing \"{command}\""
            ),
            Picture::NoRenderer => {
                f.write_str("\nImage renderer (dot) not found, not doing anything else")
            }
            Picture::NoViewer => f.write_str(
                "\nGraph viewer (xdot) and image renderer (dot) not found, not doing anything else",
            ),
        }
    }
}

impl Drawing {
    /// Writes the text into a file that ends in `.dot`. For any other ending, which says the format (`.png`,
    /// `.svg`, …), the text goes into a file of its own and the program `dot`, if it is installed, makes the
    /// picture.
    ///
    /// # Errors
    /// A file cannot be written, or `dot` not be started.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<Saved> {
        let path = path.as_ref();
        if path.extension() == Some(OsStr::new("dot")) {
            std::fs::write(path, &self.dot)?;
            return Ok(self.saved(path.to_owned(), Picture::None));
        }
        let dot_file = self.save_temporarily()?;
        let picture = match is_installed("dot") {
            true => render(&dot_file, path)?,
            false => Picture::NoRenderer,
        };
        Ok(self.saved(dot_file, picture))
    }

    /// Shows the graph in the viewer `xdot`; where that is not installed, makes a picture beside the text, in
    /// the folder for temporary files.
    ///
    /// # Errors
    /// The text cannot be written, or no program be started.
    pub fn view(&self) -> io::Result<Saved> {
        let dot_file = self.save_temporarily()?;
        let picture = if is_installed("xdot") {
            Command::new("xdot").arg(&dot_file).spawn()?;
            Picture::Viewer
        } else if is_installed("dot") {
            match render(&dot_file, &dot_file.with_extension("png"))? {
                Picture::Image(path) => Picture::ImageForViewer(path),
                failed => failed,
            }
        } else {
            Picture::NoViewer
        };
        Ok(self.saved(dot_file, picture))
    }

    fn saved(&self, dot_file: PathBuf, picture: Picture) -> Saved {
        Saved {
            dot_file,
            n_nodes: self.n_nodes,
            picture,
        }
    }

    /// Writes the text into a new file that only this user can read.
    fn save_temporarily(&self) -> io::Result<PathBuf> {
        let process = std::process::id();
        for n in 0.. {
            let path = std::env::temp_dir().join(format!("objgraph-{process}-{n}.dot"));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match file {
                Ok(mut file) => return file.write_all(self.dot.as_bytes()).map(|()| path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

/// Lets `dot` make a picture in the format that the file's ending says.
fn render(dot_file: &Path, image: &Path) -> io::Result<Picture> {
    let format = image.extension().unwrap_or_default().to_string_lossy();
    let arguments = [
        format!("-T{format}").into(),
        joined("-o", image.as_os_str()),
        dot_file.as_os_str().to_owned(),
    ];
    let status = Command::new("dot").args(&arguments).status()?;
    if status.success() {
        return Ok(Picture::Image(image.to_owned()));
    }
    let signal = || status.signal().map_or(-1, |signal| -signal);
    let code = status.code().unwrap_or_else(signal);
    let words = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let command = format!("dot {}", words.join(" "));
    Ok(Picture::Failed { code, command })
}

fn joined(option: &str, path: &OsStr) -> std::ffi::OsString {
    let mut joined = std::ffi::OsString::from(option);
    joined.push(path);
    joined
}

/// Whether a program is in one of the folders where programs are looked for.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
