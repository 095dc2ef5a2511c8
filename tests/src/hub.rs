//! A model hub on the loopback: as much of the real one's HTTP as the client asks for.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Serves the files of one folder as the model `NAME`; ends with the process.
pub struct Hub {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Starts to serve `folder` under the id `name`.
    ///
    /// # Panics
    /// If no port is free.
    pub fn serve(name: &str, folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (log, folder, prefix) = (seen.clone(), folder.to_owned(), format!("/{name}/resolve/main/"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, folder, prefix) = (log.clone(), folder.clone(), prefix.clone());
                std::thread::spawn(move || while answer(&stream, &prefix, &folder, &log).is_some() {});
            }
        });
        Self { port, seen }
    }

    /// What HF_ENDPOINT must be.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request, its first line and its headers.
    ///
    /// # Panics
    /// If a request's thread panicked.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no thread panicked").clone()
    }
}

/// Answers one request; `None` when the connection is over.
fn answer(mut stream: &TcpStream, prefix: &str, folder: &Path, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    log.lock().ok()?.push(request.clone());
    let path = request.split_whitespace().nth(1)?;
    let file: Option<PathBuf> = path.strip_prefix(prefix).map(|name| folder.join(name)).filter(|path| path.exists());
    let Some(bytes) = file.and_then(|path| std::fs::read(path).ok()) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").ok();
    };
    let range =
        request.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned))?;
    let (start, end) = range.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = end.trim().parse().unwrap_or(bytes.len() - 1);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {start}-{end}/{}\r\netag: \"{:x}\"\r\n\
         x-repo-commit: 0123456789abcdef\r\n\r\n",
        end + 1 - start,
        bytes.len(),
        // Files of one model differ in name and length; that is enough to tell their blobs apart.
        bytes.len() * 1000 + path.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&bytes[start..=end]).ok()
}
