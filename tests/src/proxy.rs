//! A network between two programs that a test can cut and slow down.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A TCP proxy to one port of this machine.
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    cut: AtomicBool,
    /// Bytes a second each way; 0 for as many as come.
    rate: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    ///
    /// # Panics
    /// If no port is free.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let line = Arc::new(Line::default());
        let accepting = line.clone();
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                accepting.pass(client, server);
            }
        });
        Self { address, line }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections; new ones are closed at once.
    pub fn cut(&self) {
        self.line.cut.store(true, Ordering::SeqCst);
        for stream in self.line.open.lock().expect("nobody panics with it").drain(..) {
            // One that is closed already is as cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.line.cut.store(false, Ordering::SeqCst);
    }

    /// Lets at most so many bytes a second through each way.
    pub fn slow_down(&self, bytes_per_second: u64) {
        self.line.rate.store(bytes_per_second, Ordering::SeqCst);
    }
}

impl Line {
    fn pass(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let both = [(&client, &server), (&server, &client)];
        for (from, to) in both {
            let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
            let line = self.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = from.read(&mut buffer) {
                    let rate = line.rate.load(Ordering::SeqCst);
                    if rate > 0 {
                        thread::sleep(Duration::from_secs_f64(read as f64 / rate as f64));
                    }
                    if line.cut.load(Ordering::SeqCst) || to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                // Whichever way ends first ends both.
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        self.open.lock().expect("nobody panics with it").extend([client, server]);
    }
}
