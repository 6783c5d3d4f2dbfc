import { group } from './command.ts'
import type { Command } from './command.ts'
import { attachCommand } from './commands/attach.ts'
import { detachCommand } from './commands/detach.ts'
import { diskCreate } from './commands/disk-create.ts'
import { diskDefault } from './commands/disk-default.ts'
import { diskDelete } from './commands/disk-delete.ts'
import { diskList } from './commands/disk-list.ts'
import { diskRename } from './commands/disk-rename.ts'
import { diskResize } from './commands/disk-resize.ts'
import { diskShow } from './commands/disk-show.ts'
import { hydrationList } from './commands/hydration-list.ts'
import { hydrationPause } from './commands/hydration-pause.ts'
import { hydrationResume } from './commands/hydration-resume.ts'
import { hydrationSet } from './commands/hydration-set.ts'
import { hydrationShow } from './commands/hydration-show.ts'
import { hydrationWait } from './commands/hydration-wait.ts'
import { restore } from './commands/restore.ts'
import { snapshotCreate } from './commands/snapshot-create.ts'
import { snapshotDelete } from './commands/snapshot-delete.ts'
import { snapshotDiff } from './commands/snapshot-diff.ts'
import { snapshotList } from './commands/snapshot-list.ts'
import { snapshotRename } from './commands/snapshot-rename.ts'
import { snapshotShow } from './commands/snapshot-show.ts'
import { status } from './commands/status.ts'

/** All that `thaw` can do, in the order of its help. */
export const commands: readonly Command[] = [
  status,
  group('disk', 'Make, list, change and delete disks', [
    diskCreate,
    diskList,
    diskShow,
    diskRename,
    diskResize,
    diskDelete,
    diskDefault,
  ]),
  group('snapshot', 'Freeze disks; list, compare and delete what was frozen', [
    snapshotCreate,
    snapshotList,
    snapshotShow,
    snapshotRename,
    snapshotDelete,
    snapshotDiff,
  ]),
  restore,
  group('hydration', 'Watch and steer how restored disks get their data', [
    hydrationList,
    hydrationShow,
    hydrationSet,
    hydrationPause,
    hydrationResume,
    hydrationWait,
  ]),
  attachCommand,
  detachCommand,
]
