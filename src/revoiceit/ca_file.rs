//! The file of `--api-ca-file`, which is read again when it changes.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use reqwest::Certificate;

/// The largest file that is read. A bundle of all public CAs is a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

/// Why a CA file cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// It cannot be opened or read.
    #[error("{} cannot be read: is it mounted, and may the operator's user read it?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Over a mebibyte.
    #[error("{} is larger than 1 MiB: keep only the CA certificates that are needed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// PEM that is damaged, or a certificate that is none.
    #[error("{} is damaged: it must hold whole CA certificates in PEM form", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: reqwest::Error,
    },
    /// Nothing in it is a certificate.
    #[error("{} holds no certificate: it needs at least one block that begins with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

/// The file, and the content that is in use.
pub(super) struct CaFile {
    path: PathBuf,
    used: Option<Content>,
}

/// What was in the file, and when it was put there.
pub(super) struct Content {
    stamp: Stamp,
    bytes: Vec<u8>,
}

/// Time of the last change, and length. A mounted ConfigMap or Secret is exchanged whole, so that both are new.
type Stamp = (Option<SystemTime>, u64);

impl CaFile {
    /// The file at this path, not read yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, used: None }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's content and certificates, if it is not the content in use. Cheap while nothing has changed: only the
    /// file's metadata is read.
    pub(super) fn read_if_new(&mut self) -> Result<Option<(Content, Vec<Certificate>)>, CaFileError> {
        let unreadable = |source| CaFileError::Unreadable { path: self.path.clone(), source };
        // Of the open file, not of the path: between two looks at a path it may become another file.
        let file = File::open(&self.path).map_err(unreadable)?;
        let stamp = file.metadata().map(|metadata| stamp(&metadata)).map_err(unreadable)?;
        if self.used.as_ref().is_some_and(|used| used.stamp == stamp) {
            return Ok(None);
        }

        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(CaFileError::TooLarge { path: self.path.clone() });
        }
        if let Some(used) = self.used.as_mut().filter(|used| used.bytes == bytes) {
            used.stamp = stamp;
            return Ok(None);
        }

        let certificates = Certificate::from_pem_bundle(&bytes).map_err(|source| self.damaged(source))?;
        if certificates.is_empty() {
            return Err(CaFileError::NoCertificate { path: self.path.clone() });
        }
        Ok(Some((Content { stamp, bytes }, certificates)))
    }

    /// Notes that this content is in use now. One that was never used is read and refused again at every look.
    pub(super) fn use_content(&mut self, content: Content) {
        self.used = Some(content);
    }

    /// The error for certificates that turned out to be none when they were to be trusted.
    pub(super) fn damaged(&self, source: reqwest::Error) -> CaFileError {
        CaFileError::Damaged { path: self.path.clone(), source }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.modified().ok(), metadata.len())
}
