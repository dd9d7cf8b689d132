//! The forms in which a rotated file may be, by the end of its name: as it was written, or compressed.
//!
//! In: what follows a base's name and its dot. Out: the form, and what is before its suffix. Pure.
//! Not here: the compressing (`log_file/compress_job.rs`).

/// How rotated files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// A rotated file's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Plain,
    Gzip,
    Zstd,
}

impl Form {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Zstd];

    /// The end of a name, as logrotate, gzip and zstd write it.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// The form of a name, and the name without its suffix.
    pub fn split(name: &[u8]) -> (&[u8], Self) {
        let compressed = [Self::Gzip, Self::Zstd];
        compressed
            .into_iter()
            .find_map(|form| Some((name.strip_suffix(form.suffix().as_bytes())?, form)))
            .unwrap_or((name, Self::Plain))
    }
}

impl From<Compression> for Form {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Gzip => Self::Gzip,
            Compression::Zstd => Self::Zstd,
        }
    }
}
