"""`rump fs find`, `grep`, `diff` and `chown` in an image: what they find, and what they do to it."""

import json
import os
import subprocess

import pytest

from tests.system.fs_tools import clean, complaint, rump, run

pytestmark = pytest.mark.needs("e2fsck")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searching")
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "usr" / "lib").mkdir(parents=True)
    (tree / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nweb:x:33:44::/:\n")
    (tree / "etc" / "group").write_text("root:x:0:\nstaff:x:50:\n")
    (tree / "etc" / "numbers").write_text("".join(f"{number}\n" for number in range(1, 21)))
    (tree / "usr" / "lib" / "odd\nname").write_bytes(b"x" * 3000)
    os.symlink("lib", tree / "usr" / "lib64")
    rump("mkfs", "-t", "ext4", "-d", tree, folder / "made.img")
    return folder


@pytest.fixture
def image(made, tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes((made / "made.img").read_bytes())
    return path


def found(image, *words):
    lines = rump("find", image, *words, "-print0").split(b"\0")[:-1]
    return sorted(os.fsdecode(line).removeprefix(f"{image}:") for line in lines)


def test_expressions(image):
    assert found(image, "(", "-name", "p*", "-o", "-name", "lib*", ")", "!", "-type", "d") == [
        "/etc/passwd",
        "/usr/lib64",
    ]
    assert found(image, "-path", "/etc", "-prune", "-o", "-type", "f") == ["/usr/lib/odd\nname"]
    assert found(image, "(", "-lname", "li?", "-o", "-regex", "/e.*rs", ")") == ["/etc/numbers", "/usr/lib64"]
    inode = json.loads(rump("stat", "--json", f"{image}:/etc/group"))[0]["inode"]
    assert found(image, "-inum", inode) == ["/etc/group"]
    assert rump("find", f"{image}:/usr", "-type", "f", "-printf", "%P %s %y %d|") == b"lib/odd\nname 3000 f 2|"
    assert rump("find", image, "-name", "etc", "-quit", "-o", "-false") == f"{image}:/etc\n".encode()
    assert [row["path"] for row in json.loads(rump("find", "--json", image, "-name", "group"))] == [
        f"{image}:/etc/group"
    ]
    assert b"-> lib\n" in rump("find", image, "-type", "l", "-ls")


def test_deleting(image, made):
    before = image.read_bytes()
    assert rump("find", image, "-type", "f", "-name", "nothing", "-delete") == b""
    assert "not empty" in complaint("find", image, "-name", "usr", "-delete")
    assert rump("hash", "-s", f"{image}:/") == rump("hash", "-s", f"{made}/made.img:/").replace(
        os.fsencode(made / "made.img"), os.fsencode(image)
    )
    rump("find", f"{image}:/usr", "-delete")
    assert found(image, "-path", "/usr*") == ["/usr"] and image.read_bytes() != before
    clean(image, kind="ext4")
    complaint("find", made, "-delete", check=125)
    assert (made / "tree" / "etc").is_dir()


def test_what_find_says_of_what_it_has_not(image):
    for words, said in ((["-exec", "cat", "{}", ";"], "rump fs mount"), (["("], "missing"), (["-size", "x"], "-size")):
        assert said in complaint("find", image, *words, check=2)


def test_lines(image):
    where = f"{image}:/etc/numbers"
    assert rump("grep", "-n", "-C", "1", "-e", "^5$", "-e", "12", where) == b"4-4\n5:5\n6-6\n--\n11-11\n12:12\n13-13\n"
    assert rump("grep", "-m", "2", "-o", "1.", where) == b"10\n11\n"
    assert rump("grep", "-x", "-c", "1", where) == b"1\n"
    rump("grep", "-s", "x", f"{image}:/none", check=2)
    assert run("grep", "-s", "x", f"{image}:/none")[2] == b""
    assert rump("grep", "-rL", "root", f"{image}:/etc").decode().split() == [f"{image}:/etc/numbers"]
    assert rump("grep", "-rl", "staff", image).decode().split() == [f"{image}:/etc/group"]  # in it, not in its bytes
    assert b"binary file matches" in rump("grep", "staff", image)


def test_a_file_is_compared_with_a_file(image, made):
    rump("diff", "-r", f"{image}:/etc/numbers", made / "tree" / "etc" / "numbers")
    said = rump("diff", "-u", f"{image}:/etc/group", made / "tree" / "etc" / "passwd", check=1).decode()
    assert f"--- {image}:/etc/group" in said and "+web:x:33" in said


def test_owners_by_the_names_of_the_image(image):
    def owner(path):
        row = json.loads(rump("stat", "--json", f"{image}:{path}"))[0]
        return row["uid"], row["gid"]

    rump("chown", "web:staff", f"{image}:/etc/numbers")
    assert owner("/etc/numbers") == (33, 50)
    rump("chown", "-R", "web:", f"{image}:/usr")
    assert owner("/usr/lib") == (33, 44)
    assert "no user 'nobody'" in complaint("chown", "nobody", f"{image}:/etc/numbers")
    assert "which group" in complaint("chown", "7:", f"{image}:/etc/numbers")


def test_addresses_stay_addresses(image):
    for line in rump("ls", "-R", image).decode().splitlines():
        if line.endswith(":") and line != f"{image}:":
            rump("ls", "-d", line.removesuffix(":"))
    assert f"{image}:/usr/lib" in rump("du", image).decode()
    assert rump("shell", image, "-c", "cd usr", "-c", "find -name 'odd*' -printf %p") == b"./lib/odd\nname"


def test_archives(image, tmp_path):
    both = rump("tar", "-c", f"{image}:/etc", f"{image}:/usr")
    listed = rump("tar", "-t", "-v", stdin=both).decode()
    assert "etc/group" in listed and "usr/lib64 -> lib" in listed and "-rw-r--r--" in listed
    assert "zstd" in complaint("tar", "-c", "-f", tmp_path / "a.tar.zst", image, check=2)
    (tmp_path / "a.tar").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))
    assert "compressed by zstd" in complaint("tar", "-t", "-f", tmp_path / "a.tar", check=125)
    code, out, err = run("tar", "-c", "-v", "-f", tmp_path / "b.tar", f"{image}:/etc")
    assert code == 0 and b"./group\n" in out and not err


def test_members_of_an_archive(image, tmp_path):
    archive = tmp_path / "both.tar"
    rump("tar", "-c", "-f", archive, f"{image}:/etc", f"{image}:/usr")
    everything = rump("tar", "-t", "-f", archive).splitlines()
    listed = rump("tar", "-t", "-f", archive, "usr/lib", "./etc/group").splitlines()
    assert listed == [b"etc/group", b"usr/lib/", b"usr/lib/odd", b"name"]  # of which the last two are one
    assert rump("tar", "-t", "-f", archive, "usr/").splitlines() == [
        name for name in everything if b"usr" in name or name == b"name"
    ]
    out = tmp_path / "out"
    out.mkdir()
    rump("tar", "-x", "-f", archive, out, "etc/group", "usr/lib64")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["etc", "etc/group", "usr", "usr/lib64"]
    assert (out / "etc/group").read_bytes() == rump("cat", f"{image}:/etc/group")
    rump("mkdir", f"{image}:/in")
    code, _, err = run("tar", "-x", "-f", archive, f"{image}:/in", "etc/group", "no/such", "etc/grou")
    assert code == 1 and err.count(b"the archive has no such member") == 2 and b"no/such" in err
    assert (
        rump("find", f"{image}:/in", "-printf", "%p ") == f"{image}:/in {image}:/in/etc {image}:/in/etc/group ".encode()
    )
    code, _, err = run("tar", "-t", "-f", archive, "nothing")
    assert code == 1 and b"nothing: the archive has no such member" in err
    assert "leads out" in complaint("tar", "-t", "-f", archive, "../x", check=125)
    clean(image, kind="ext4")


def test_a_full_disk_or_a_closed_pipe_ends_it_with_one_line(image):
    command = ["tar", "-c", str(image)]
    from tests.system.fs_tools import RUMP

    with open("/dev/full", "wb") as full:
        done = subprocess.run([*RUMP, *command], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (125, "rump: standard output: No space left on device\n")
    script = 'exec "$@" >&- 2>&- <&-'
    closed = subprocess.run(["sh", "-c", script, "sh", *RUMP, "cp", f"{image}:/etc/group", f"{image}:/new"])
    assert closed.returncode == 0 and rump("cat", f"{image}:/new").startswith(b"root:")
    clean(image, kind="ext4")


def test_what_is_no_image(tmp_path):
    path = tmp_path / "x"
    for head, said in ((b"\x1f\x8b", "gunzip"), (b"KDMV", "qemu-img convert"), (b"XFSB", "XFS")):
        path.write_bytes(head + bytes(4096))
        assert said in complaint("ls", path) and said in rump("info", path).decode()


def test_a_change_that_does_not_fit_says_where(image, tmp_path):
    before = image.read_bytes()
    (tmp_path / "large").write_bytes(b"x" * (4 << 20))
    said = complaint("cp", tmp_path / "large", f"{image}:/", check=125)
    assert said == f"rump: {image}: No space left on device, at {tmp_path}/large; nothing was changed\n"
    assert image.read_bytes() == before


def test_what_stands_in_the_way_is_named(image):
    for words in (["ln", "-s", "x"], ["ln", f"{image}:/etc/passwd"]):
        assert complaint(*words, f"{image}:/etc/group", check=125) == f"rump: {image}:/etc/group: File exists\n"
    assert "cp a copy" in complaint("ln", "/etc/passwd", f"{image}:/x", check=125)
    before = image.read_bytes()
    image.with_name("disk.img.rump-redo").mkdir()
    assert "its redo log" in complaint("rm", f"{image}:/etc/group")
    assert image.read_bytes() == before
