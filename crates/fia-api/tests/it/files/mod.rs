//! Finding and downloading files: literal names, confinement to a folder, byte ranges.

mod confinement;
mod ranges;
mod search;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::harness::{Database, Replica, Response, request};
use crate::sample_files::SampleFiles;

/// Job 1's folder, readable by staff.
const FOLDER: &str = "MARI/RBNumber/RB1820497/autoreduced";

/// A replica with the sample files. The database must outlive it.
async fn replica(files: &SampleFiles) -> (Replica, Database) {
    let database = Database::seeded().await;
    (Replica::new(&[&database.vars(), &files.vars()]), database)
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

async fn download(replica: &Replica, name: &str, headers: &[(&str, &str)]) -> Response {
    let path = format!("/job/1/filename/{}", encoded(name));
    let mut request = request(Method::GET, &path, "staff", None);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    replica.send(request).await
}

async fn find(replica: &Replica, name: &str) -> Response {
    let name = encoded(name);
    let path = format!("/find_file/instrument/MARI/experiment_number/1820497?filename={name}");
    replica.get(&path, "staff").await
}
