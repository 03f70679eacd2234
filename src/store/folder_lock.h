/* What the tests of the folder's lock set. */
#ifndef GD_STORE_FOLDER_LOCK_H
#define GD_STORE_FOLDER_LOCK_H

/* After how many seconds of silence the holder on another node counts as gone (30). Local; rank 0. */
void gd_folder_lock_patience(double seconds);

#endif
