//! One project with an api for everything that HTTP can ask for, and a client that speaks raw bytes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Read;
use std::net::TcpStream;

use crate::support::{Project, Response, text};

const SCHEMA: &str = r#"
    input Item { sku: String @minLength(1)  quantity: Int @min(1) }
    input NoteInput {
      title: String @trim @minLength(1) @maxLength(20)
      email: String? @trim @lower @email
      count: Int @default(1) @min(0) @max(10)
      items: Item[]?
    }
    input PageInput { page: Int @default(1) @min(1)  deep: Boolean @default(false)  tags: String[]? }
    input CancelInput { orderId: Int  reason: String? }
    input ReplyInput { status: Int?  headers: Json?  data: Json? }
    input WaitInput { name: String }
    type Page { text: String @default("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789") }
    input GrowInput { pages: Page[] }

    api CreateNote { method: POST  path: "/notes"  body: NoteInput  response: Json  status: 201 }
    api LatestNote { method: GET  path: "/notes/latest"  response: Json }
    api ReadNote { method: GET  path: "/notes/{id}"  response: Json }
    api DropNote { method: DELETE  path: "/notes/{key}"  response: Json  status: 204 }
    api ReadPart { method: GET  path: "/notes/:note/parts/:part"  response: Json }
    api ListNotes { method: GET  path: "/notes"  query: PageInput  response: Json }
    api Echo { method: GET  path: "/echo"  response: Json }
    api CancelOrder { method: POST  path: "/orders/{orderId}/cancel"  body: CancelInput  response: Json }
    api Reply { method: POST  path: "/reply"  body: ReplyInput  response: Json }
    api Spoilt { method: POST  path: "/spoilt"  body: ReplyInput  response: Json  triggers: [Waited] }
    api Grow { method: POST  path: "/grow"  body: GrowInput  response: Json }
    api Anything { method: POST  path: "/anything"  body: Json  response: Json }
    api Nothing { method: GET  path: "/nothing"  response: Json }
    api Broken { method: GET  path: "/broken"  response: Json }
    api Absent { method: GET  path: "/absent"  response: Json }
    api Later { method: GET  path: "/later"  response: Json }
    api Slow { method: GET  path: "/slow"  response: Json  timeout: 300ms }
    api Wait { method: POST  path: "/wait"  body: WaitInput  response: Json  triggers: [Waited]  timeout: 25s }
    event Waited { payload: Json  handler: [note_waited] }
"#;

const HANDLERS: [(&str, &str); 19] = [
    ("api/create_note", "async def handle_create_note(req):\n    return {'note': req.body.model_dump(mode='json')}\n"),
    ("api/latest_note", "async def handle_latest_note():\n    return {'latest': True}\n"),
    ("api/read_note", "def handle_read_note(req):\n    return {'id': req.id, 'params': dict(req.path_params)}\n"),
    ("api/drop_note", "def handle_drop_note(req):\n    assert req.key\n"),
    ("api/read_part", "def handle_read_part(req):\n    return [req.note, req.part]\n"),
    (
        "api/list_notes",
        "def handle_list_notes(req):\n    return {'page': req.query.page, 'deep': req.query.deep, 'tags': req.query.tags}\n",
    ),
    (
        "api/echo",
        "def handle_echo(req):\n    query = req.query_params\n    return {'query': {name: [query[name], query.getlist(name)] for name in query},\n            'agent': req.headers.get('User-Agent'), 'cookies': dict(req.cookies)}\n",
    ),
    ("api/cancel_order", "def handle_cancel_order(req):\n    return [req.body.orderId, req.body.reason]\n"),
    (
        "api/reply",
        "from generated.api.reply import ReplyResponse\n\ndef handle_reply(req):\n    return ReplyResponse(data=req.body.data, status=req.body.status, headers=req.body.headers)\n",
    ),
    (
        "api/spoilt",
        "from generated.api.spoilt import SpoiltResponse\n\ndef handle_spoilt(req, state):\n    state.trigger_event('Waited', req.body.data)\n    return SpoiltResponse(data=req.body.data, status=req.body.status, headers=req.body.headers)\n",
    ),
    ("api/grow", "def handle_grow(req):\n    return len(req.body.pages)\n"),
    ("api/anything", "def handle_anything(req):\n    return req.body\n"),
    ("api/nothing", "async def handle_nothing():\n    return None\n"),
    ("api/broken", "async def handle_broken():\n    raise RuntimeError('the secret of the house')\n"),
    (
        "api/absent",
        "from generated.errors import NotFound\n\nasync def handle_absent():\n    raise NotFound('no such thing', details={'looked': 3})\n",
    ),
    (
        "api/later",
        "from generated.errors import Unavailable\n\nasync def handle_later():\n    raise Unavailable('not today', retry_after=7)\n",
    ),
    ("api/slow", "import asyncio\n\nasync def handle_slow():\n    await asyncio.sleep(60)\n"),
    (
        "api/wait",
        "import asyncio, pathlib\n\nasync def handle_wait(req):\n    pathlib.Path(f'entered-{req.body.name}').touch()\n    while not pathlib.Path('release').exists():\n        await asyncio.sleep(0.01)\n    return {'name': req.body.name}\n",
    ),
    (
        "events/note_waited",
        "import pathlib\n\ndef note_waited(event):\n    pathlib.Path('emitted-' + event.payload['name']).touch()\n",
    ),
];

/// The project, with settings appended to its file.
pub(crate) fn project(settings: &str) -> Project {
    let project = Project::new().file("schema/edge.ro", SCHEMA).file(
        "config/rohas.toml",
        &format!("[project]\nname = \"edge\"\n[python]\nworkers = 1\n{}", crate::support::dedent(settings)),
    );
    for (name, source) in HANDLERS {
        project.write(&format!("src/handlers/{name}.py"), source);
    }
    project
}

impl Project {
    pub(crate) fn has(&self, file: &str) -> bool {
        self.path().join(file).exists()
    }
}

/// Reads one answer, its body by `content-length`, and leaves the connection as it is.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Response {
    let head = read_head(stream);
    let mut answer = Response::parse(&head).unwrap_or_else(|| panic!("not an answer: {}", text(&head)));
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

/// Reads to the end of a head. For answers to HEAD, which have a length and no body.
pub(crate) fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the connection ended after: {}", text(&head));
        head.push(byte[0]);
    }
    head
}
